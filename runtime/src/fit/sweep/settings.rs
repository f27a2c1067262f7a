//! A value for each setting of a sweep, in a tuple that grows.

/// The settings of a training, in a tuple: `()`, `(A,)`, `(A, B)` and so on, up to eight.
pub trait Settings: sealed::Sealed + Sized {
    /// The tuple with one more.
    type With<T>;

    /// Puts a value after the others.
    #[doc(hidden)]
    fn with<T>(self, value: T) -> Self::With<T>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! settings {
    ($(($($name:ident),*))*) => {$(
        impl<$($name),*> sealed::Sealed for ($($name,)*) {}

        impl<$($name),*> Settings for ($($name,)*) {
            type With<T> = ($($name,)* T,);

            fn with<T>(self, value: T) -> Self::With<T> {
                #[allow(non_snake_case, reason = "a value goes by the name of its type")]
                let ($($name,)*) = self;
                ($($name,)* value,)
            }
        }
    )*};
}

settings! {
    ()
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
}
