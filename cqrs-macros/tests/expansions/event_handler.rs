#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn count(e: &OrderPlaced, stats: Inject<Stats>) {
    stats.add(e.total);
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::HandleRef for __Handler {
        type Message = OrderPlaced;
        type Output = ();
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
                    Inject<Stats>,
                    __cqrs::role::PlainEventHandler<OrderPlaced>,
                >(),
            );
            count(message, p0)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::domain_event_handler::<
        __Handler,
        OrderPlaced,
        (),
    >(
        __cqrs::EventMode::Plain,
        "count",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<OrderPlaced>(&[__cqrs::Asked::<Inject<Stats>>::NEED]),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
