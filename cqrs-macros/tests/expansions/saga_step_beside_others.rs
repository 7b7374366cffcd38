#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn notify(
    cx: &Checkout,
    mailer: Inject<dyn Mailer>,
) -> Result<Notified, MailError> {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum notify {}
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
        type Output = Result<Notified, MailError>;
        fn call<'c>(
            lent: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Checkout>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    Inject<dyn Mailer>,
                    __cqrs::role::StepHandler<Checkout>,
                >(),
            );
            notify(lent.by_ref(), p0)
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::None,
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    const __ITEM: __cqrs::StepItem = __cqrs::Shape::<Result<Notified, MailError>>::MEMBER
        .item::<
            __Handler,
            __cqrs::EveryError,
            __cqrs::NoFallback,
            Checkout,
            Result<Notified, MailError>,
            _,
            _,
        >(
            "notify",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<
                Checkout,
            >(&[__cqrs::Asked::<Inject<dyn Mailer>>::NEED]),
            ::core::option::Option::None,
        )
        .keeping(__cqrs::Returned::<Result<Notified, MailError>>::KEEP)
        .with(
            __cqrs::RetryOptions::NONE,
            __cqrs::WayBack::Nothing,
            false,
            ::core::option::Option::None,
        );
    impl __cqrs::SagaStep<Checkout> for notify {
        const ITEM: &'static __cqrs::StepItem = &__ITEM;
    }
};
