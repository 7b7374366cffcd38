//! One input per macro variant.

use proc_macro2::TokenStream;
use quote::quote;

use crate::entry;
use crate::model::MessageKind;
use crate::parse::Place;

/// A macro call, with the name of its snapshot.
pub(super) struct Input {
    pub(super) name: &'static str,
    call: Call,
}

enum Call {
    Derive(MessageKind, TokenStream),
    Problem(TokenStream),
    Attribute(Place, TokenStream, TokenStream),
    Saga(TokenStream, TokenStream),
}

impl Input {
    pub(super) fn expand(self) -> TokenStream {
        match self.call {
            Call::Derive(kind, item) => entry::derive(kind, item),
            Call::Problem(item) => entry::problem(item),
            Call::Attribute(place, args, item) => entry::attribute(place, args, item),
            Call::Saga(args, item) => entry::saga(args, item),
        }
    }

    /// The same call with `crate = ::renamed`.
    pub(super) fn renamed(mut self) -> Self {
        match &mut self.call {
            Call::Derive(kind, item) => {
                let word = syn::Ident::new(kind.place().word(), proc_macro2::Span::call_site());
                *item = quote!(#[#word(crate = ::renamed)] #item);
            }
            Call::Problem(item) => *item = quote!(#[problem(crate = ::renamed)] #item),
            Call::Attribute(_, args, _) | Call::Saga(args, _) => *args = quote!(crate = ::renamed, #args),
        }
        self
    }
}

fn derive(name: &'static str, kind: MessageKind, item: TokenStream) -> Input {
    Input { name, call: Call::Derive(kind, item) }
}

fn problem(name: &'static str, item: TokenStream) -> Input {
    Input { name, call: Call::Problem(item) }
}

fn attribute(name: &'static str, place: Place, args: TokenStream, item: TokenStream) -> Input {
    Input { name, call: Call::Attribute(place, args, item) }
}

fn saga(name: &'static str, args: TokenStream, item: TokenStream) -> Input {
    Input { name, call: Call::Saga(args, item) }
}

pub(super) fn inputs() -> Vec<Input> {
    let mut inputs = messages();
    inputs.extend(problems());
    inputs.extend(sagas());
    inputs.extend(handlers());
    inputs.extend(event_handlers());
    inputs.extend(wiring());
    inputs.extend(guarded());
    inputs
}

fn messages() -> Vec<Input> {
    vec![
        derive(
            "command",
            MessageKind::Command,
            quote! {
                #[command(response = OrderId, error = PlaceOrderError, name = "place_order", version = 2)]
                pub struct PlaceOrder { pub customer: CustomerId }
            },
        ),
        derive(
            "command_of_nothing",
            MessageKind::Command,
            quote!(
                struct Wake;
            ),
        ),
        derive(
            "command_that_streams",
            MessageKind::Command,
            quote! {
                #[command(item = Imported, error = ImportError)]
                struct ImportOrders { rows: Vec<Row> }
            },
        ),
        derive(
            "query",
            MessageKind::Query,
            quote! {
                #[query(response = Option<OrderView>, error = sqlx::Error)]
                pub struct GetOrder { pub id: OrderId }
            },
        ),
        derive(
            "domain_event",
            MessageKind::DomainEvent,
            quote!(
                pub enum Stocked {
                    In,
                    Out,
                }
            ),
        ),
        derive(
            "domain_event_that_is_generic",
            MessageKind::DomainEvent,
            quote! {
                pub struct Created<T: Clone, const N: usize> where T: Debug { pub it: [T; N] }
            },
        ),
        derive(
            "notification_event",
            MessageKind::NotificationEvent,
            quote! {
                #[event(name = "order_placed", topic = "orders", key = id, version = 1)]
                pub struct OrderPlacedV1 { pub id: OrderId, pub total: Money }
            },
        ),
        derive(
            "notification_event_as_tuple",
            MessageKind::NotificationEvent,
            quote! {
                #[event(key = 0)]
                pub struct OrderShipped(OrderId);
            },
        ),
        derive(
            "message_with_an_error",
            MessageKind::Command,
            quote! {
                #[command(respnse = OrderId)]
                pub struct PlaceOrder;
            },
        ),
    ]
}

fn problems() -> Vec<Input> {
    vec![
        problem(
            "problem",
            quote! {
                #[problem(status = 409, title = "Declined", type = "/problems/declined")]
                pub struct Declined;
            },
        ),
        problem(
            "problem_of_some_variants",
            quote! {
                enum PayError {
                    #[problem(status = 404)]
                    NoSuchOrder(OrderId),
                    #[problem(status = 409, title = "Declined")]
                    Declined { by: String },
                    Database,
                }
            },
        ),
        problem(
            "problem_of_every_variant",
            quote! {
                #[problem(title = "Declined")]
                enum PayError<T: Clone> where T: Debug {
                    #[problem(status = 404)]
                    NoSuchOrder(T),
                }
            },
        ),
    ]
}

fn handlers() -> Vec<Input> {
    vec![
        attribute(
            "command_handler",
            Place::CommandHandler,
            quote!(),
            quote! {
                async fn place_order(
                    cmd: PlaceOrder,
                    prices: Inject<dyn PriceList>,
                    tx: &mut Tx<Sqlite>,
                ) -> Result<OrderId, PlaceOrderError> {
                    prices.total(&cmd, tx).await
                }
            },
        ),
        attribute(
            "command_handler_of_nothing_else",
            Place::CommandHandler,
            quote!(),
            quote! {
                async fn wake(_: &Wake) {}
            },
        ),
        attribute(
            "command_handler_with_lifetimes",
            Place::CommandHandler,
            quote!(),
            quote! {
                #[cfg(feature = "orders")]
                #[tracing::instrument]
                async fn r#move<'a>(PlaceOrder { id }: &'a PlaceOrder, meta: &'a Meta) -> Result<OrderId, BoxError> {
                    Ok(*id)
                }
            },
        ),
        attribute(
            "command_handler_with_an_error",
            Place::CommandHandler,
            quote!(),
            quote! {
                fn place_order(cmd: PlaceOrder) {}
            },
        ),
        attribute(
            "query_handler",
            Place::QueryHandler,
            quote!(),
            quote! {
                async fn get_order(q: GetOrder, pool: Inject<SqlitePool>) -> Result<Option<OrderView>, sqlx::Error> {
                    find(&pool, q.id).await
                }
            },
        ),
    ]
}

fn event_handlers() -> Vec<Input> {
    vec![
        attribute(
            "event_handler",
            Place::EventHandler,
            quote!(),
            quote! {
                async fn count(e: &OrderPlaced, stats: Inject<Stats>) { stats.add(e.total); }
            },
        ),
        attribute(
            "event_handler_inline",
            Place::EventHandler,
            quote!(inline, order = -10),
            quote! {
                async fn reserve_number(e: OrderPlaced, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> { Ok(()) }
            },
        ),
        attribute(
            "event_handler_durable",
            Place::EventHandler,
            quote!(durable, retry(max = 8, first = "1s", factor = 2, ceiling = "5m")),
            quote! {
                async fn send_mail(e: &OrderPlaced, mailer: Inject<dyn Mailer>) -> Result<(), MailError> { Ok(()) }
            },
        ),
        attribute(
            "event_handler_group",
            Place::EventHandler,
            quote!(
                group = "billing",
                concurrency = 8,
                batch = 50,
                topic = "orders",
                on_dead = "park",
                unknown = "dead",
                retry(max = 3)
            ),
            quote! {
                async fn bill(e: OrderPlacedV1, meta: &Meta) -> Result<(), BillError> { Ok(()) }
            },
        ),
        attribute(
            "event_handler_group_by_default",
            Place::EventHandler,
            quote!(group = "billing"),
            quote! {
                async fn bill(e: &OrderPlacedV1) {}
            },
        ),
    ]
}

fn wiring() -> Vec<Input> {
    vec![
        attribute(
            "provider",
            Place::Provider,
            quote!(),
            quote! {
                async fn price_list(settings: Inject<ShopSettings>) -> Result<Arc<dyn PriceList>, BoxError> {
                    load(&settings).await
                }
            },
        ),
        attribute(
            "provider_per_message",
            Place::Provider,
            quote!(scope = "message"),
            quote! {
                fn current_user(meta: &Meta) -> Result<CurrentUser, AuthError> { CurrentUser::of(meta) }
            },
        ),
        attribute(
            "middleware",
            Place::Middleware,
            quote!(order = 10, kinds = [command, query]),
            quote! {
                async fn audit(call: Call<'_>, next: Next<'_>, log: Inject<AuditLog>) -> Outcome { next.run().await }
            },
        ),
        attribute(
            "middleware_of_everything",
            Place::Middleware,
            quote!(),
            quote! {
                async fn trace<'a>(call: Call<'a>, next: Next<'a>) -> Outcome { next.run().await }
            },
        ),
    ]
}

fn guarded() -> Vec<Input> {
    vec![
        attribute(
            "query_handler_with_a_policy",
            Place::QueryHandler,
            quote!(
                fallback = cache::quote,
                on = [QuoteError::Unavailable(_), QuoteError::Refused(code) if *code > 4],
                timeout = "2s",
                retry(max = 2),
                breaker(failures = 5, open_for = "30s", window = "1m", name = "prices")
            ),
            quote! {
                async fn quote(q: &GetQuote, api: Inject<dyn PriceApi>) -> Result<Quote, QuoteError> {
                    api.quote(q).await
                }
            },
        ),
        attribute(
            "command_handler_with_a_timeout",
            Place::CommandHandler,
            quote!(timeout = "2s"),
            quote! {
                async fn wake(cmd: Wake) {}
            },
        ),
        attribute(
            "event_handler_with_a_breaker",
            Place::EventHandler,
            quote!(durable, retry(max = 3), breaker),
            quote! {
                async fn send_mail(e: &OrderPlaced) -> Result<(), MailError> {
                    Ok(())
                }
            },
        ),
        attribute(
            "fallback",
            Place::Fallback,
            quote!(),
            quote! {
                pub(crate) async fn cached(
                    q: GetQuote,
                    cause: Cause<QuoteError>,
                    cache: Inject<Cache>,
                    meta: &Meta,
                ) -> Result<Quote, QuoteError> {
                    Ok(Quote)
                }
            },
        ),
        attribute(
            "chain_link",
            Place::ChainLink,
            quote!(),
            quote! {
                #[cfg(feature = "cards")]
                pub async fn by_card(cmd: Pay, tx: &mut Tx<Sqlite>) -> Result<Link<Pay>, PayError> {
                    Ok(Link::Pass(cmd))
                }
            },
        ),
        attribute(
            "chain_link_with_a_policy",
            Place::ChainLink,
            quote!(fallback = by_hand, timeout = "1s"),
            quote! {
                async fn by_card(cmd: &Pay) -> Link<Pay> {
                    Link::Answer(())
                }
            },
        ),
    ]
}

fn sagas() -> Vec<Input> {
    vec![
        saga(
            "saga",
            quote!(name = "checkout", version = 2, steps = [reserve, stock::reserve as again, (notify, print), ship]),
            quote!(
                #[derive(Serialize, Deserialize)]
                pub struct Checkout {
                    order: u32,
                }
            ),
        ),
        saga(
            "saga_with_limits",
            quote!(steps = [ship], concurrency = 8, rate = "30/m"),
            quote!(
                #[derive(Serialize, Deserialize)]
                pub struct Checkout {
                    order: u32,
                }
            ),
        ),
        saga(
            "saga_that_is_retired",
            quote!(name = "checkout", version = 2, migrates = CheckoutV1, retired),
            quote!(
                #[derive(Serialize, Deserialize)]
                pub struct CheckoutV2 {
                    order: u32,
                }
            ),
        ),
        saga(
            "saga_with_an_error",
            quote!(),
            quote!(
                struct Checkout;
            ),
        ),
        attribute(
            "saga_step",
            Place::SagaStep,
            quote!(compensate = stock::release, retry(max = 3), timeout = "10s", fallback = by_hand, name = "stock"),
            quote!(
                pub async fn reserve(cx: &mut Checkout, key: StepKey) -> Result<(), StockError> {}
            ),
        ),
        attribute(
            "saga_step_beside_others",
            Place::SagaStep,
            quote!(compensate = none),
            quote!(
                async fn notify(cx: &Checkout, mailer: Inject<dyn Mailer>) -> Result<Notified, MailError> {}
            ),
        ),
        attribute(
            "saga_step_that_awaits",
            Place::SagaStep,
            quote!(pivot, awaits = PaymentReceived, by = (order, 0), timeout = "15m", group = "till"),
            quote!(
                async fn confirm(cx: &mut Checkout, e: &PaymentReceived, events: &mut Events) {}
            ),
        ),
        attribute(
            "saga_step_with_an_error",
            Place::SagaStep,
            quote!(pivot),
            quote!(
                fn ship(cx: &mut Checkout) {}
            ),
        ),
        attribute(
            "compensation",
            Place::Compensation,
            quote!(retry(max = 5)),
            quote!(
                async fn release(cx: &Checkout, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {}
            ),
        ),
        attribute(
            "fallback_of_a_step",
            Place::Fallback,
            quote!(),
            quote!(
                async fn by_hand(cx: &mut Checkout, cause: Cause<StockError>) {}
            ),
        ),
    ]
}
