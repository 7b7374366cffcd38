#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn bill(e: &OrderPlacedV1) {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    struct __Handler;
    impl __cqrs::HandleRef for __Handler {
        type Message = OrderPlacedV1;
        type Output = ();
        #[inline]
        fn call<'c>(
            message: &'c Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<OrderPlacedV1>::CHECKED;
            let () = __cqrs::parameters0(context, handler);
            bill(message)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::group_handler_ref::<
        __Handler,
        OrderPlacedV1,
        (),
    >(
        __cqrs::GroupOptions {
            group: "billing",
            topic: ::core::option::Option::None,
            concurrency: ::core::option::Option::None,
            batch: ::core::option::Option::None,
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
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
