#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn price_list(
    settings: Inject<ShopSettings>,
) -> Result<Arc<dyn PriceList>, BoxError> {
    load(&settings).await
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
            __cqrs::ProviderScope::App,
            "price_list",
            __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            &[
                <Inject<
                    ShopSettings,
                > as __cqrs::ProviderParam<'static, __cqrs::role::AppProvider>>::NEED,
            ],
            || {
                __cqrs::Shaped(
                        (&&&__cqrs::Provided::<
                            Result<Arc<dyn PriceList>, BoxError>,
                        >::new())
                            .shape(),
                    )
                    .target::<Result<Arc<dyn PriceList>, BoxError>>()
            },
            |mut resolver| ::std::boxed::Box::pin(async move {
                let value = __cqrs::future_must_be_send(
                        price_list(
                            __cqrs::dependency::<
                                Inject<ShopSettings>,
                                __cqrs::role::AppProvider,
                            >(&mut resolver),
                        ),
                    )
                    .await;
                __cqrs::Shaped(
                        (&&&__cqrs::Provided::<
                            Result<Arc<dyn PriceList>, BoxError>,
                        >::new())
                            .shape(),
                    )
                    .provided::<Result<Arc<dyn PriceList>, BoxError>>(value)
            }),
        )
    };
    __cqrs::inventory::submit! {
        __ITEM
    }
};
