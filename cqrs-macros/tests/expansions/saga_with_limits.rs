#[derive(Serialize, Deserialize)]
pub struct Checkout {
    order: u32,
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_context::<Checkout>()];
    #[automatically_derived]
    impl __cqrs::Message for Checkout
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::Saga,
            streaming: false,
            name: "Checkout",
            version: 1u32,
            topic: "Checkout",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "Checkout"),
            ),
            location: __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            key: ::core::option::Option::None,
            codec: {
                #[allow(unused_imports)]
                use __cqrs::ProbeFallback as _;
                __cqrs::Codec {
                    duplicate: __cqrs::Probe::<Self>::DUPLICATE,
                    debug: __cqrs::Probe::<Self>::DEBUG,
                    encode: __cqrs::Probe::<Self>::ENCODE,
                    decode: __cqrs::Probe::<Self>::DECODE,
                    ..__cqrs::Codec::NONE
                }
            },
            wire: ::core::option::Option::None,
            upgrades: ::core::option::Option::None,
        };
    }
    #[automatically_derived]
    impl __cqrs::SagaContext for Checkout
    where
        __Checked:,
    {
        const ITEM: &'static __cqrs::SagaItem = &__ITEM;
    }
    const __PLACES: &[__cqrs::PlaceItem] = &[
        __cqrs::PlaceItem::One(__cqrs::step_of::<ship, Checkout>("Checkout.ship")),
    ];
    const __ITEM: __cqrs::SagaItem = __cqrs::SagaItem::of::<Checkout>(__PLACES)
        .at_once(8u32)
        .at_rate(30u32, ::core::time::Duration::from_millis(60000u64));
    const _: () = __cqrs::step_at(__PLACES, 0usize, 0usize);
    __cqrs::inventory::submit! {
        __cqrs::MessageItem::of:: < Checkout > ()
    }
    __cqrs::inventory::submit! {
        __ITEM
    }
};
