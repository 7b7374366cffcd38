#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn send_mail(
    e: &OrderPlaced,
    mailer: Inject<dyn Mailer>,
) -> Result<(), MailError> {
    Ok(())
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::HandleRef for __Handler {
        type Message = OrderPlaced;
        type Output = Result<(), MailError>;
        #[inline]
        fn call<'c>(
            message: &'c Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<OrderPlaced>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    Inject<dyn Mailer>,
                    __cqrs::role::DurableEventHandler<OrderPlaced>,
                >(),
            );
            send_mail(message, p0)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::domain_event_handler::<
        __Handler,
        OrderPlaced,
        Result<(), MailError>,
    >(
        __cqrs::EventMode::Durable(
            __cqrs::RetryOptions::new(
                ::core::option::Option::Some(8u32),
                ::core::option::Option::Some(
                    ::core::time::Duration::from_millis(1000u64),
                ),
                ::core::option::Option::Some(2f64),
                ::core::option::Option::Some(
                    ::core::time::Duration::from_millis(300000u64),
                ),
            ),
        ),
        "send_mail",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<OrderPlaced>(&[__cqrs::Asked::<Inject<dyn Mailer>>::NEED]),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
