#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
fn current_user(meta: &Meta) -> Result<CurrentUser, AuthError> {
    CurrentUser::of(meta)
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::ProviderItem = {
        #[allow(unused_imports)]
        use __cqrs::{
            ProvidedArc as _, ProvidedResult as _, ProvidedResultArc as _,
            ProvidedValue as _,
        };
        __cqrs::ProviderItem::new(
            __cqrs::ProviderScope::Message,
            "current_user",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            &[
                <&Meta as __cqrs::ProviderParam<
                    'static,
                    __cqrs::role::MessageProvider,
                >>::NEED,
            ],
            || {
                __cqrs::Shaped(
                        (&&&__cqrs::Provided::<Result<CurrentUser, AuthError>>::new())
                            .shape(),
                    )
                    .target::<Result<CurrentUser, AuthError>>()
            },
            |mut resolver| ::std::boxed::Box::pin(async move {
                let value = current_user(
                    __cqrs::dependency::<
                        &Meta,
                        __cqrs::role::MessageProvider,
                    >(&mut resolver),
                );
                __cqrs::Shaped(
                        (&&&__cqrs::Provided::<Result<CurrentUser, AuthError>>::new())
                            .shape(),
                    )
                    .provided::<Result<CurrentUser, AuthError>>(value)
            }),
        )
    };
    __cqrs::inventory::submit! {
        __ITEM
    }
};
