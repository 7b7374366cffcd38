#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn wake(_: &Wake) {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    struct __Handler;
    impl __cqrs::HandleRef for __Handler {
        type Message = Wake;
        type Output = ();
        #[inline]
        fn call<'c>(
            message: &'c Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Wake>::CHECKED;
            let () = __cqrs::parameters0(context, handler);
            wake(message)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler_ref::<
        __Handler,
        Wake,
        (),
        _,
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
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
