#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
pub async fn reserve(cx: &mut Checkout, key: StepKey) -> Result<(), StockError> {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
pub enum reserve {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[allow(unused_imports)]
    use __cqrs::{
        AskedFallback as _, ProbeFallback as _, ReturnedFallback as _, ShapeFallback as _,
    };
    struct __Handler;
    impl __cqrs::HandleLent for __Handler {
        type Message = Checkout;
        type Output = Result<(), StockError>;
        fn call<'c>(
            lent: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Checkout>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<StepKey, __cqrs::role::StepHandler<Checkout>>(),
            );
            reserve(lent.by_mut(), p0)
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(10000u64),
            ),
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    const __ITEM: __cqrs::StepItem = __cqrs::step::<
        __Handler,
        __cqrs::EveryError,
        __cqrs::Backed<by_hand, _>,
        Checkout,
        Result<(), StockError>,
        _,
        _,
    >(
            "reserve",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<Checkout>(&[__cqrs::Asked::<StepKey>::NEED]),
            __cqrs::fallback_of::<by_hand, Checkout>(__cqrs::StandsInFor::Step),
        )
        .keeping(__cqrs::Returned::<Result<(), StockError>>::KEEP)
        .with(
            __cqrs::RetryOptions::new(
                ::core::option::Option::Some(3u32),
                ::core::option::Option::None,
                ::core::option::Option::None,
                ::core::option::Option::None,
            ),
            __cqrs::back_by::<stock::release, Checkout>(),
            false,
            ::core::option::Option::None,
        )
        .named("stock");
    impl __cqrs::SagaStep<Checkout> for reserve {
        const ITEM: &'static __cqrs::StepItem = &__ITEM;
    }
};
