#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn get_order(
    q: GetOrder,
    pool: Inject<SqlitePool>,
) -> Result<Option<OrderView>, sqlx::Error> {
    find(&pool, q.id).await
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::query_handler::<
        GetOrder,
        _,
        _,
    >(
        "get_order",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<
            GetOrder,
        >(
            &[
                <Inject<
                    SqlitePool,
                > as __cqrs::Param<'static, __cqrs::role::QueryHandler<GetOrder>>>::NEED,
            ],
        ),
        &__cqrs::TypedThunk(|message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    get_order(
                        message,
                        __cqrs::parameter::<
                            Inject<SqlitePool>,
                            __cqrs::role::QueryHandler<GetOrder>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (
                __cqrs::answer::<
                    GetOrder,
                    Result<Option<OrderView>, sqlx::Error>,
                    _,
                    _,
                    _,
                >(output),
                cx,
            )
        })),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
