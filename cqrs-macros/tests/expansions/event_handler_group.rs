#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn bill(e: OrderPlacedV1, meta: &Meta) -> Result<(), BillError> {
    Ok(())
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::group_handler::<
        OrderPlacedV1,
    >(
        __cqrs::GroupOptions {
            group: "billing",
            topic: ::core::option::Option::Some("orders"),
            concurrency: ::core::option::Option::Some(8u32),
            retry: __cqrs::RetryOptions::new(
                ::core::option::Option::Some(3u32),
                ::core::option::Option::None,
                ::core::option::Option::None,
                ::core::option::Option::None,
            ),
            on_dead: ::core::option::Option::Some(__cqrs::OnDead::Park),
            unknown: ::core::option::Option::Some(__cqrs::OnUnknown::Dead),
        },
        "bill",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<
            OrderPlacedV1,
        >(
            &[
                <&Meta as __cqrs::Param<
                    'static,
                    __cqrs::role::GroupEventHandler<OrderPlacedV1>,
                >>::NEED,
            ],
        ),
        |message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    bill(
                        __cqrs::group_event_by_value::<OrderPlacedV1>(message),
                        __cqrs::parameter::<
                            &Meta,
                            __cqrs::role::GroupEventHandler<OrderPlacedV1>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (__cqrs::event_answer::<Result<(), BillError>>(output), cx)
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
