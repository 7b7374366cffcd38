#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn by_card(cmd: &Pay) -> Link<Pay> {
    Link::Answer(())
}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum by_card {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    struct __Handler;
    impl __cqrs::HandleLent for __Handler {
        type Message = Pay;
        type Output = Link<Pay>;
        #[inline]
        fn call<'c>(
            message: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Pay>::CHECKED;
            let () = __cqrs::parameters0(context, handler);
            by_card(message.by_ref())
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(1000u64),
            ),
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    type __Checked = [(); __cqrs::checked_guarded_link::<
        __Handler,
        __cqrs::EveryError,
        __cqrs::Backed<by_hand, _>,
        Pay,
        Link<Pay>,
        _,
        _,
    >()];
    impl __cqrs::ChainLink<Pay> for by_card
    where
        __Checked:,
    {
        const ITEM: &'static __cqrs::HandlerItem = &__cqrs::guarded_link::<
            __Handler,
            Pay,
        >(
            "by_card",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<Pay>(&[]),
            __cqrs::fallback_of::<by_hand, Pay>(__cqrs::link_stands_in_for::<Pay>()),
        );
        fn ask<'c>(
            passed: &'c mut __cqrs::Passed<Pay>,
            cx: &'c mut __cqrs::Cx<'_>,
            link: u32,
        ) -> impl ::core::future::Future<Output = ()> {
            __cqrs::ask_guarded::<
                __Handler,
                __cqrs::EveryError,
                __cqrs::Backed<by_hand, _>,
                Pay,
                Link<Pay>,
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
