//! The table of arguments: which word is accepted where, and in which form.

/// Where arguments stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    CommandDerive,
    QueryDerive,
    EventDerive,
    ProblemDerive,
    /// `#[problem(..)]` on a variant.
    ProblemVariant,
    CommandHandler,
    QueryHandler,
    EventHandler,
    ChainLink,
    Fallback,
    Saga,
    SagaStep,
    Compensation,
    Provider,
    Middleware,
    Retry,
    Breaker,
}

/// One accepted argument.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) word: &'static str,
    /// What it takes, in words.
    pub(crate) takes: &'static str,
    /// An example of it.
    pub(crate) form: &'static str,
    places: &'static [Place],
}

const fn key(word: &'static str, takes: &'static str, form: &'static str, places: &'static [Place]) -> Key {
    Key { word, takes, form, places }
}

use self::Place::{
    Breaker, ChainLink, CommandDerive, CommandHandler, Compensation, EventDerive, EventHandler, Fallback, Middleware,
    ProblemDerive, ProblemVariant, Provider, QueryDerive, QueryHandler, Retry, Saga, SagaStep,
};

/// Functions whose attempts can be surrounded.
const ATTEMPTED: &[Place] = &[CommandHandler, QueryHandler, EventHandler, ChainLink, SagaStep];
const RETRIED: &[Place] = &[CommandHandler, QueryHandler, EventHandler, ChainLink, SagaStep, Compensation];

const KEYS: &[Key] = &[
    key("response", "a type", "response = OrderId", &[CommandDerive, QueryDerive]),
    key("error", "a type", "error = PlaceOrderError", &[CommandDerive, QueryDerive]),
    key("item", "a type", "item = Row", &[CommandDerive, QueryDerive]),
    key("name", "a string", "name = \"order_placed\"", &[CommandDerive, EventDerive, Saga, SagaStep, Breaker]),
    key("topic", "a string", "topic = \"orders\"", &[EventDerive, EventHandler]),
    key("key", "the name or index of a field", "key = id", &[EventDerive]),
    key("version", "a whole number", "version = 2", &[CommandDerive, EventDerive, Saga]),
    key("upgrades", "a type", "upgrades = OrderPlacedV1", &[EventDerive]),
    key("codec", "a string", "codec = \"cloudevents\"", &[EventDerive]),
    key("inline", "no value", "inline", &[EventHandler]),
    key("durable", "no value", "durable", &[EventHandler]),
    key("group", "a string", "group = \"billing\"", &[EventHandler, SagaStep]),
    key("order", "a whole number", "order = 10", &[EventHandler, Middleware]),
    key("concurrency", "a whole number", "concurrency = 8", &[EventHandler, Saga]),
    key("rate", "a rate in a string", "rate = \"100/s\"", &[Saga]),
    key("batch", "a whole number", "batch = 100", &[EventHandler]),
    key("fallback", "the path of a function under `#[fallback]`", "fallback = cached_quote", ATTEMPTED),
    key("on", "a list of patterns", "on = [QuoteError::Unavailable(_)]", ATTEMPTED),
    key("timeout", "a duration in a string", "timeout = \"2s\"", ATTEMPTED),
    key("retry", "a list of arguments", "retry(max = 8, first = \"1s\")", RETRIED),
    key("breaker", "a list of arguments", "breaker(failures = 5, open_for = \"30s\")", ATTEMPTED),
    key("on_dead", "a string", "on_dead = \"park\"", &[EventHandler]),
    key("unknown", "a string", "unknown = \"skip\"", &[EventHandler]),
    key("steps", "a list of steps", "steps = [reserve, (notify, print), ship]", &[Saga]),
    key("migrates", "a type", "migrates = CheckoutV1", &[Saga]),
    key("retired", "no value", "retired", &[Saga]),
    key("compensate", "the path of a function under `#[compensation]`, or `none`", "compensate = release", &[SagaStep]),
    key("pivot", "no value", "pivot", &[SagaStep]),
    key("awaits", "a type", "awaits = PaymentReceived", &[SagaStep]),
    key("by", "a field of context and event, or a pair of one of each", "by = (order, order_id)", &[SagaStep]),
    key("status", "a whole number", "status = 409", &[ProblemDerive, ProblemVariant]),
    key("title", "a string", "title = \"Sold out\"", &[ProblemDerive, ProblemVariant]),
    key("type", "a string", "type = \"/problems/sold-out\"", &[ProblemDerive, ProblemVariant]),
    key("transparent", "no value", "transparent", &[ProblemVariant]),
    key("scope", "a string", "scope = \"message\"", &[Provider]),
    key("kinds", "a list of words", "kinds = [command, query]", &[Middleware]),
    key("max", "a whole number", "max = 8", &[Retry]),
    key("first", "a duration in a string", "first = \"1s\"", &[Retry]),
    key("factor", "a number", "factor = 2.0", &[Retry]),
    key("ceiling", "a duration in a string", "ceiling = \"5m\"", &[Retry]),
    key("failures", "a whole number", "failures = 5", &[Breaker]),
    key("open_for", "a duration in a string", "open_for = \"30s\"", &[Breaker]),
    key("window", "a duration in a string", "window = \"60s\"", &[Breaker]),
    key(
        "crate",
        "an absolute path",
        "crate = ::renamed",
        &[
            CommandDerive,
            QueryDerive,
            EventDerive,
            ProblemDerive,
            CommandHandler,
            QueryHandler,
            EventHandler,
            ChainLink,
            Fallback,
            Saga,
            SagaStep,
            Compensation,
            Provider,
            Middleware,
        ],
    ),
];

impl Place {
    /// The attribute as the user writes it, without its arguments.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::CommandDerive => "command",
            Self::QueryDerive => "query",
            Self::EventDerive => "event",
            Self::ProblemDerive | Self::ProblemVariant => "problem",
            Self::CommandHandler => "command_handler",
            Self::QueryHandler => "query_handler",
            Self::EventHandler => "event_handler",
            Self::ChainLink => "chain_link",
            Self::Fallback => "fallback",
            Self::Saga => "saga",
            Self::SagaStep => "saga_step",
            Self::Compensation => "compensation",
            Self::Provider => "provider",
            Self::Middleware => "middleware",
            Self::Retry => "retry",
            Self::Breaker => "breaker",
        }
    }

    /// The attribute in full: `#[command(..)]`.
    pub(crate) fn form(self) -> String {
        match self {
            Self::Retry | Self::Breaker => format!("{}(..)", self.word()),
            _ => format!("#[{}(..)]", self.word()),
        }
    }

    /// The accepted arguments.
    pub(crate) fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.places.contains(&self))
    }

    /// The accepted arguments as a sentence's end: `` `order`, `kinds`, `crate` ``.
    pub(crate) fn accepted(self) -> String {
        self.keys().map(|key| format!("`{}`", key.word)).collect::<Vec<_>>().join(", ")
    }

    /// What the attribute makes of its item.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::CommandDerive => "command",
            Self::QueryDerive => "query",
            Self::EventDerive => "event",
            Self::ProblemDerive | Self::ProblemVariant => "problem",
            Self::CommandHandler => "command handler",
            Self::QueryHandler => "query handler",
            Self::EventHandler => "event handler",
            Self::ChainLink => "link",
            Self::Fallback => "fallback",
            Self::Saga => "saga",
            Self::SagaStep => "saga step",
            Self::Compensation => "compensation",
            Self::Provider => "provider",
            Self::Middleware => "middleware",
            Self::Retry => "retry policy",
            Self::Breaker => "circuit breaker",
        }
    }

    /// The signature of a function this attribute accepts.
    pub(crate) fn signature(self) -> &'static str {
        match self {
            Self::QueryHandler => "async fn get_order(q: GetOrder, ..) -> Result<OrderView, E>",
            Self::EventHandler => "async fn send_mail(e: &OrderPlaced, ..) -> Result<(), E>",
            Self::ChainLink => "async fn by_card(cmd: Pay, ..) -> Result<Link<Pay>, E>",
            Self::Fallback => "async fn cached_quote(q: &GetQuote, cause: Cause<E>, ..) -> Result<Quote, E>",
            Self::SagaStep => "async fn reserve(cx: &mut Checkout, ..) -> Result<(), E>",
            Self::Compensation => "async fn release(cx: &mut Checkout, ..) -> Result<(), E>",
            Self::Provider => "fn price_list(settings: Inject<Settings>, ..) -> Result<Arc<dyn PriceList>, E>",
            Self::Middleware => "async fn audit(call: Call<'_>, next: Next<'_>, ..) -> Outcome",
            _ => "async fn place_order(cmd: PlaceOrder, ..) -> Result<OrderId, E>",
        }
    }

    /// What the attribute accepts, as a help line.
    pub(crate) fn usage(self) -> String {
        format!("a {} is `{}`", self.noun(), self.signature())
    }
}
