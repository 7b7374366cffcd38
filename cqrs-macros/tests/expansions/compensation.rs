#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn release(cx: &Checkout, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum release {}
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
        type Output = Result<(), sqlx::Error>;
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
                    &mut Tx<Sqlite>,
                    __cqrs::role::CompensationHandler<Checkout>,
                >(),
            );
            release(lent.by_ref(), p0)
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::None,
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    const __ITEM: __cqrs::CompensationItem = __cqrs::compensation::<
        __Handler,
        Checkout,
        Result<(), sqlx::Error>,
        _,
        _,
    >(
        "release",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs_of_part::<Checkout>(&[__cqrs::Asked::<&mut Tx<Sqlite>>::NEED]),
        __cqrs::RetryOptions::new(
            ::core::option::Option::Some(5u32),
            ::core::option::Option::None,
            ::core::option::Option::None,
            ::core::option::Option::None,
        ),
    );
    impl __cqrs::Compensation<Checkout> for release {
        const ITEM: &'static __cqrs::CompensationItem = &__ITEM;
    }
};
