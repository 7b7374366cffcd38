#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_message::<Stocked>()];
    #[automatically_derived]
    impl __cqrs::Message for Stocked
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::DomainEvent,
            streaming: false,
            name: "Stocked",
            version: 1u32,
            topic: "Stocked",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "Stocked"),
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
    impl __cqrs::Event for Stocked
    where
        __Checked:,
    {}
    #[automatically_derived]
    impl __cqrs::DomainEvent for Stocked
    where
        __Checked:,
    {}
    __cqrs::inventory::submit! {
        __cqrs::MessageItem::of:: < Stocked > ()
    }
};
