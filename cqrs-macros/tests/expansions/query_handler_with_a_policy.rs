#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn quote(q: &GetQuote, api: Inject<dyn PriceApi>) -> Result<Quote, QuoteError> {
    api.quote(q).await
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::HandleLent for __Handler {
        type Message = GetQuote;
        type Output = Result<Quote, QuoteError>;
        #[inline]
        fn call<'c>(
            message: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<GetQuote>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    Inject<dyn PriceApi>,
                    __cqrs::role::QueryHandler<GetQuote>,
                >(),
            );
            quote(message.by_ref(), p0)
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(2000u64),
            ),
            retry: ::core::option::Option::Some(
                __cqrs::RetryOptions::new(
                    ::core::option::Option::Some(2u32),
                    ::core::option::Option::None,
                    ::core::option::Option::None,
                    ::core::option::Option::None,
                ),
            ),
            breaker: ::core::option::Option::Some(
                __cqrs::BreakerOptions::new(
                    ::core::option::Option::Some(5u32),
                    ::core::option::Option::Some(
                        ::core::time::Duration::from_millis(30000u64),
                    ),
                    ::core::option::Option::Some(
                        ::core::time::Duration::from_millis(60000u64),
                    ),
                    ::core::option::Option::Some("prices"),
                ),
            ),
        };
    }
    struct __On;
    impl __cqrs::Counts<<Result<Quote, QuoteError> as __cqrs::Fails>::Error> for __On {
        #[allow(
            unused_variables,
            unreachable_patterns,
            clippy::match_same_arms,
            clippy::match_like_matches_macro
        )]
        fn counts(error: &<Result<Quote, QuoteError> as __cqrs::Fails>::Error) -> bool {
            match error {
                QuoteError::Unavailable(_) => true,
                QuoteError::Refused(code) if *code > 4 => true,
                _ => false,
            }
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::guarded_query_handler::<
        __Handler,
        __On,
        __cqrs::Backed<cache::quote, _>,
        GetQuote,
        Result<Quote, QuoteError>,
        _,
        _,
        _,
        _,
    >(
        "quote",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<GetQuote>(&[__cqrs::Asked::<Inject<dyn PriceApi>>::NEED]),
        __cqrs::fallback_of::<cache::quote, GetQuote>(__cqrs::StandsInFor::Query),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
