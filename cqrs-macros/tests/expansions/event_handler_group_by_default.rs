#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn bill(e: &OrderPlacedV1) {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::group_handler::<
        OrderPlacedV1,
    >(
        __cqrs::GroupOptions {
            group: "billing",
            topic: ::core::option::Option::None,
            concurrency: ::core::option::Option::None,
            retry: __cqrs::RetryOptions::NONE,
            on_dead: ::core::option::Option::None,
            unknown: ::core::option::Option::None,
        },
        "bill",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<OrderPlacedV1>(&[]),
        |message, cx, _| ::std::boxed::Box::pin(async move {
            let output = __cqrs::handler_future_must_be_send(
                    bill(__cqrs::event_ref::<OrderPlacedV1>(&message)),
                )
                .await;
            (__cqrs::event_answer::<()>(output), cx)
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
