#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_message::<ImportOrders>()];
    #[automatically_derived]
    impl __cqrs::Message for ImportOrders
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::Command,
            streaming: true,
            name: "ImportOrders",
            version: 1u32,
            topic: "ImportOrders",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "ImportOrders"),
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
                    ..__cqrs::Probe::<Self>::STORED
                }
            },
            wire: ::core::option::Option::None,
            upgrades: ::core::option::Option::None,
        };
    }
    #[automatically_derived]
    impl __cqrs::Handled for ImportOrders
    where
        __Checked:,
    {
        type Response = ();
        type Error = ImportError;
        __cqrs::web_of! {
            ImportError
        }
    }
    #[automatically_derived]
    impl __cqrs::AnyCommand for ImportOrders
    where
        __Checked:,
    {}
    #[automatically_derived]
    impl __cqrs::Streaming for ImportOrders
    where
        __Checked:,
    {
        type Item = Imported;
    }
    __cqrs::inventory::submit! {
        __cqrs::MessageItem::of:: < ImportOrders > ()
    }
};
