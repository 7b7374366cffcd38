#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn wake(_: &Wake) {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler::<
        Wake,
        _,
        _,
    >(
        "wake",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<Wake>(&[]),
        &__cqrs::TypedThunk(|message, cx, _| ::std::boxed::Box::pin(async move {
            let output = __cqrs::handler_future_must_be_send(wake(&message)).await;
            (__cqrs::answer::<Wake, (), _, _, _>(output), cx)
        })),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
