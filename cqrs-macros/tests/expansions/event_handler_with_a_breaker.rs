#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn send_mail(e: &OrderPlaced) -> Result<(), MailError> {
    Ok(())
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    struct __Handler;
    impl __cqrs::HandleLent for __Handler {
        type Message = OrderPlaced;
        type Output = Result<(), MailError>;
        #[inline]
        fn call<'c>(
            message: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<OrderPlaced>::CHECKED;
            let () = __cqrs::parameters0(context, handler);
            send_mail(message.by_ref())
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::None,
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::Some(__cqrs::BreakerOptions::NONE),
        };
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::guarded_domain_event_handler::<
        __Handler,
        __cqrs::EveryError,
        __cqrs::NoFallback,
        OrderPlaced,
        Result<(), MailError>,
        _,
        _,
    >(
        __cqrs::EventMode::Durable(
            __cqrs::RetryOptions::new(
                ::core::option::Option::Some(3u32),
                ::core::option::Option::None,
                ::core::option::Option::None,
                ::core::option::Option::None,
            ),
        ),
        "send_mail",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<OrderPlaced>(&[]),
        ::core::option::Option::None,
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
