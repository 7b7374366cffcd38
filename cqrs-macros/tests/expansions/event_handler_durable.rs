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
    const __ITEM: __cqrs::HandlerItem = __cqrs::domain_event_handler::<
        OrderPlaced,
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
        __cqrs::needs::<
            OrderPlaced,
        >(
            &[
                <Inject<
                    dyn Mailer,
                > as __cqrs::Param<
                    'static,
                    __cqrs::role::DurableEventHandler<OrderPlaced>,
                >>::NEED,
            ],
        ),
        |message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    send_mail(
                        __cqrs::event_ref::<OrderPlaced>(&message),
                        __cqrs::parameter::<
                            Inject<dyn Mailer>,
                            __cqrs::role::DurableEventHandler<OrderPlaced>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (__cqrs::event_answer::<Result<(), MailError>>(output), cx)
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
