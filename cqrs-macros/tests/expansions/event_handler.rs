#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn count(e: &OrderPlaced, stats: Inject<Stats>) {
    stats.add(e.total);
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::domain_event_handler::<
        OrderPlaced,
    >(
        __cqrs::EventMode::Plain,
        "count",
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
                    Stats,
                > as __cqrs::Param<
                    'static,
                    __cqrs::role::PlainEventHandler<OrderPlaced>,
                >>::NEED,
            ],
        ),
        |message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    count(
                        __cqrs::event_ref::<OrderPlaced>(&message),
                        __cqrs::parameter::<
                            Inject<Stats>,
                            __cqrs::role::PlainEventHandler<OrderPlaced>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (__cqrs::event_answer::<()>(output), cx)
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
