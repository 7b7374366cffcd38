#[allow(deprecated, unused_qualifications)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[automatically_derived]
    impl<T: Clone> __cqrs::Problem for PayError<T>
    where
        T: Debug,
        PayError<T>: ::core::fmt::Display,
    {
        fn problem(&self) -> ::core::option::Option<__cqrs::ProblemDetails> {
            match self {
                Self::NoSuchOrder { .. } => {
                    ::core::option::Option::Some(
                        __cqrs::derived(
                            self,
                            404u16,
                            ::core::option::Option::Some("Declined"),
                            ::core::option::Option::None,
                        ),
                    )
                }
            }
        }
    }
};
