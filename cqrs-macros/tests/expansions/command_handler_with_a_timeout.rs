#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn wake(cmd: Wake) {}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    struct __Handler;
    impl __cqrs::HandleLent for __Handler {
        type Message = Wake;
        type Output = ();
        #[inline]
        fn call<'c>(
            message: __cqrs::Lent<'c, Self::Message>,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<Wake>::CHECKED;
            let () = __cqrs::parameters0(context, handler);
            wake(message.by_value())
        }
    }
    impl __cqrs::HasPolicy for __Handler {
        const POLICY: __cqrs::Policy = __cqrs::Policy {
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(2000u64),
            ),
            retry: ::core::option::Option::None,
            breaker: ::core::option::Option::None,
        };
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::guarded_command_handler::<
        __Handler,
        __cqrs::EveryError,
        __cqrs::NoFallback,
        Wake,
        (),
        _,
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
        ::core::option::Option::None,
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
