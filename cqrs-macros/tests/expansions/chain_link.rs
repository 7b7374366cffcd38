#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
#[cfg(feature = "cards")]
pub async fn by_card(cmd: Pay, tx: &mut Tx<Sqlite>) -> Result<Link<Pay>, PayError> {
    Ok(Link::Pass(cmd))
}
#[cfg(feature = "cards")]
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
pub enum by_card {}
#[cfg(feature = "cards")]
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::Handle for __Handler {
        type Message = Pay;
        type Output = Result<Link<Pay>, PayError>;
        #[inline]
        fn call<'c>(
            message: Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Pay>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<&mut Tx<Sqlite>, __cqrs::role::LinkHandler<Pay>>(),
            );
            by_card(message, p0)
        }
    }
    type __Checked = [(); __cqrs::checked_link::<
        __Handler,
        Pay,
        Result<Link<Pay>, PayError>,
        _,
        _,
    >()];
    impl __cqrs::ChainLink<Pay> for by_card
    where
        __Checked:,
    {
        const ITEM: &'static __cqrs::HandlerItem = &__cqrs::link::<
            Pay,
        >(
            "by_card",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<Pay>(&[__cqrs::Asked::<&mut Tx<Sqlite>>::NEED]),
        );
        fn ask<'c>(
            passed: &'c mut __cqrs::Passed<Pay>,
            cx: &'c mut __cqrs::Cx<'_>,
            link: u32,
        ) -> impl ::core::future::Future<Output = ()> {
            __cqrs::ask::<
                __Handler,
                Pay,
                Result<Link<Pay>, PayError>,
                _,
            >(passed, cx, link)
        }
    }
    const __ITEM: __cqrs::LinkItem = __cqrs::LinkItem::new(
        <by_card as __cqrs::ChainLink<Pay>>::ITEM,
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
