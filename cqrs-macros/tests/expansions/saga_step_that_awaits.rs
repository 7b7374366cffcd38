#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn confirm(cx: &mut Checkout, e: &PaymentReceived, events: &mut Events) {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum confirm {}
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
        type Output = ();
        fn call<'c>(
            lent: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Checkout>::CHECKED;
            let event = __cqrs::awaited::<PaymentReceived>(context);
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<&mut Events, __cqrs::role::StepHandler<Checkout>>(),
            );
            async move {
                __cqrs::future_must_be_send(confirm(lent.by_mut(), &*event, p0)).await
            }
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::None,
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    struct __By;
    impl __cqrs::By for __By {
        type Context = Checkout;
        type Event = PaymentReceived;
        fn field(
            whole: ::core::option::Option<&Checkout>,
            message: ::core::option::Option<&PaymentReceived>,
        ) -> ::core::option::Option<::std::vec::Vec<u8>> {
            __cqrs::by::<
                Checkout,
                PaymentReceived,
                _,
                _,
            >(whole, message, |whole| &whole.order, |whole| &whole.0)
        }
    }
    const __ITEM: __cqrs::StepItem = __cqrs::step::<
        __Handler,
        __cqrs::EveryError,
        __cqrs::NoFallback,
        Checkout,
        (),
        _,
        _,
    >(
            "confirm",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            __cqrs::needs_of_part::<Checkout>(&[__cqrs::Asked::<&mut Events>::NEED]),
            ::core::option::Option::None,
        )
        .keeping(__cqrs::Returned::<()>::KEEP)
        .with(
            __cqrs::RetryOptions::NONE,
            __cqrs::WayBack::Unsaid,
            true,
            ::core::option::Option::Some(
                __cqrs::in_group(
                    __cqrs::awaits::<
                        PaymentReceived,
                        __By,
                    >(
                        ::core::option::Option::Some(
                            ::core::time::Duration::from_millis(900000u64),
                        ),
                    ),
                    "till",
                ),
            ),
        );
    impl __cqrs::SagaStep<Checkout> for confirm {
        const ITEM: &'static __cqrs::StepItem = &__ITEM;
    }
};
