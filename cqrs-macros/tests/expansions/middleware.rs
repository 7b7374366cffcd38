#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn audit(call: Call<'_>, next: Next<'_>, log: Inject<AuditLog>) -> Outcome {
    next.run().await
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::MiddlewareItem = __cqrs::MiddlewareItem::new(
        "audit",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        10i32,
        __cqrs::MiddlewareKinds {
            command: true,
            query: true,
            ..__cqrs::MiddlewareKinds::NONE
        },
        &[
            <Inject<
                AuditLog,
            > as __cqrs::ProviderParam<'static, __cqrs::role::Middleware>>::NEED,
        ],
        |call, next, mut resolver| ::std::boxed::Box::pin(async move {
            __cqrs::middleware_outcome::<
                Outcome,
            >(
                __cqrs::future_must_be_send(
                        audit(
                            __cqrs::middleware_call::<Call<'_>>(call),
                            __cqrs::middleware_next::<Next<'_>>(next),
                            __cqrs::dependency::<
                                Inject<AuditLog>,
                                __cqrs::role::Middleware,
                            >(&mut resolver),
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
