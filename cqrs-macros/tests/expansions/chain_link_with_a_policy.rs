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
    impl __cqrs::HandleRef for __Handler {
        type Message = Pay;
        type Output = Link<Pay>;
        #[inline]
        fn call<'c>(
            message: &'c Self::Message,
            _: __cqrs::Parts<'c>,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Pay>::CHECKED;
            by_card(message)
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
    impl __cqrs::ChainLink<Pay> for by_card {
        const ITEM: &'static __cqrs::HandlerItem = &__cqrs::guarded_link_handler::<
            __Handler,
            __cqrs::EveryError,
            __cqrs::Backed<by_hand, _>,
            Pay,
            Link<Pay>,
            _,
            _,
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
    }
    const __ITEM: __cqrs::LinkItem = __cqrs::LinkItem::new(
        <by_card as __cqrs::ChainLink<Pay>>::ITEM,
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
