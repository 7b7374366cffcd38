#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
pub(crate) async fn cached(
    q: GetQuote,
    cause: Cause<QuoteError>,
    cache: Inject<Cache>,
    meta: &Meta,
) -> Result<Quote, QuoteError> {
    Ok(Quote)
}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
pub(crate) enum cached {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[allow(unused_imports)]
    use __cqrs::{AskedFallback as _, ProbeFallback as _};
    impl __cqrs::Fallback<GetQuote> for cached {
        type Output = Result<Quote, QuoteError>;
        const BY_VALUE: bool = true;
        const BY_MUT: bool = false;
        const ITEM: &'static __cqrs::HandlerItem = &__cqrs::fallback::<
            GetQuote,
        >(
            "cached",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<
                GetQuote,
            >(
                &[
                    __cqrs::Asked::<Cause<QuoteError>>::NEED,
                    __cqrs::Asked::<Inject<Cache>>::NEED,
                    __cqrs::Asked::<&Meta>::NEED,
                ],
            ),
        );
        fn call<'c>(
            message: __cqrs::Lent<'c, GetQuote>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<GetQuote>::CHECKED;
            let (p0, p1, p2) = __cqrs::parameters3(
                context,
                handler,
                __cqrs::parameter::<
                    Cause<QuoteError>,
                    __cqrs::role::FallbackHandler<GetQuote>,
                >(),
                __cqrs::parameter::<
                    Inject<Cache>,
                    __cqrs::role::FallbackHandler<GetQuote>,
                >(),
                __cqrs::parameter::<&Meta, __cqrs::role::FallbackHandler<GetQuote>>(),
            );
            cached(message.by_value(), p0, p1, p2)
        }
    }
    impl<__E> __cqrs::AnswersTo<__E> for cached
    where
        Cause<QuoteError>: __cqrs::FitsCause<__E>,
        Inject<Cache>: __cqrs::FitsCause<__E>,
    {}
};
