#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[allow(dead_code, clippy::multiple_bound_locations)]
    const fn __checked<T: Clone, const N: usize>() -> usize
    where
        T: Debug,
        T: ::core::marker::Send + ::core::marker::Sync + 'static,
    {
        __cqrs::checked_message::<Created<T, N>>()
    }
    #[automatically_derived]
    impl<T: Clone, const N: usize> __cqrs::Message for Created<T, N>
    where
        T: Debug,
        T: ::core::marker::Send + ::core::marker::Sync + 'static,
        Created<T, N>: __cqrs::Shareable,
    {
        type Checked = ();
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::DomainEvent,
            streaming: false,
            name: "Created",
            version: 1u32,
            topic: "Created",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Asked(::core::any::type_name::<Self>),
            location: __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            key: ::core::option::Option::None,
            codec: __cqrs::Codec::NONE,
            wire: ::core::option::Option::None,
            upgrades: ::core::option::Option::None,
        };
    }
    #[automatically_derived]
    impl<T: Clone, const N: usize> __cqrs::Event for Created<T, N>
    where
        T: Debug,
        T: ::core::marker::Send + ::core::marker::Sync + 'static,
        Created<T, N>: __cqrs::Shareable,
    {}
    #[automatically_derived]
    impl<T: Clone, const N: usize> __cqrs::DomainEvent for Created<T, N>
    where
        T: Debug,
        T: ::core::marker::Send + ::core::marker::Sync + 'static,
        Created<T, N>: __cqrs::Shareable,
    {}
};
