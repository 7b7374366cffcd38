#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn trace<'a>(call: Call<'a>, next: Next<'a>) -> Outcome {
    next.run().await
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::MiddlewareItem = __cqrs::MiddlewareItem::new(
        "trace",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::MiddlewareKinds::ALL,
        &[],
        |call, next, _| ::std::boxed::Box::pin(async move {
            __cqrs::middleware_outcome::<
                Outcome,
            >(
                __cqrs::future_must_be_send(
                        trace(
                            __cqrs::middleware_call::<Call<'_>>(call),
                            __cqrs::middleware_next::<Next<'_>>(next),
                        ),
                    )
                    .await,
            )
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
