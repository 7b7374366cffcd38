#[derive(Serialize, Deserialize)]
pub struct CheckoutV2 {
    order: u32,
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_context::<CheckoutV2>()];
    #[automatically_derived]
    impl __cqrs::Message for CheckoutV2
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::Saga,
            streaming: false,
            name: "checkout",
            version: 2u32,
            topic: "checkout",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "CheckoutV2"),
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
            upgrades: ::core::option::Option::Some(
                &const { __cqrs::Upgrade::of::<CheckoutV1, Self>("checkout", 2u32) },
            ),
        };
    }
};
