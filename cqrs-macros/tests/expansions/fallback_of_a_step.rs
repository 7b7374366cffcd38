#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn by_hand(cx: &mut Checkout, cause: Cause<StockError>) {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum by_hand {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[allow(unused_imports)]
    use __cqrs::{AskedFallback as _, ProbeFallback as _};
    impl __cqrs::Fallback<Checkout> for by_hand {
        type Output = ();
        const BY_VALUE: bool = false;
        const BY_MUT: bool = true;
        const ITEM: &'static __cqrs::HandlerItem = &__cqrs::fallback_mut::<
            Checkout,
        >(
            "by_hand",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<
                Checkout,
            >(&[__cqrs::Asked::<Cause<StockError>>::NEED]),
        );
        fn call<'c>(
            message: __cqrs::Lent<'c, Checkout>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Checkout>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    Cause<StockError>,
                    __cqrs::role::FallbackHandler<Checkout>,
                >(),
            );
            by_hand(message.by_mut(), p0)
        }
    }
    impl<__E> __cqrs::AnswersTo<__E> for by_hand
    where
        Cause<StockError>: __cqrs::FitsCause<__E>,
    {}
};
