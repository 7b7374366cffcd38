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
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::Handle for __Handler {
        type Message = GetOrder;
        type Output = Result<Option<OrderView>, sqlx::Error>;
        #[inline]
        fn call<'c>(
            message: Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<GetOrder>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    Inject<SqlitePool>,
                    __cqrs::role::QueryHandler<GetOrder>,
                >(),
            );
            get_order(message, p0)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::query_handler::<
        __Handler,
        GetOrder,
        Result<Option<OrderView>, sqlx::Error>,
        _,
        _,
        _,
    >(
        "get_order",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<GetOrder>(&[__cqrs::Asked::<Inject<SqlitePool>>::NEED]),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
