//! Every piece of a torrent as a square on a canvas: here, under way, or missing, and then how rare.
//!
//! Drawn by hand and not as elements: ten thousand of those would keep the browser laying out. What is drawn where is decided
//! without a browser ([`Grid`], [`shade`]).

use engine::PieceState;
use leptos::html::Canvas;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlDetailsElement};

use super::parts::{icon, text};
use super::phrase::{Phrase, Value};
use super::torrent::Row;
use crate::snapshot::TorrentView;

/// Sides of a square, in CSS pixels, largest first; the last is used even where not all pieces fit.
const SIDES: [u32; 6] = [14, 11, 8, 6, 4, 3];
/// Height of the map, at most, in CSS pixels.
const MOST_HEIGHT: u32 = 220;
/// Peers that have a piece which is no longer rare.
const COMMON: u32 = 4;

/// How one square is filled. Their order is that of importance: a square of several pieces takes the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shade {
    /// Missing, and no linked peer has it.
    Nowhere,
    /// Missing, and few linked peers have it.
    Rare,
    /// Missing, and enough linked peers have it.
    Common,
    /// Asked for, or being verified and stored.
    InFlight,
    /// Verified and stored.
    Have,
}

const SHADES: [Shade; 5] = [Shade::Have, Shade::InFlight, Shade::Common, Shade::Rare, Shade::Nowhere];

impl Shade {
    /// The token of its colour in style.css, and the key of its name.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Have => ("--piece-have", "have", "map.have"),
            Self::InFlight => ("--piece-flight", "flight", "map.flight"),
            Self::Common => ("--piece-common", "common", "map.common"),
            Self::Rare => ("--piece-rare", "rare", "map.rare"),
            Self::Nowhere => ("--piece-nowhere", "nowhere", "map.nowhere"),
        }
    }
}

fn shade(state: PieceState) -> Shade {
    match state {
        PieceState::Have => Shade::Have,
        PieceState::InFlight => Shade::InFlight,
        PieceState::Missing { peers: 0 } => Shade::Nowhere,
        PieceState::Missing { peers } if peers < COMMON => Shade::Rare,
        PieceState::Missing { .. } => Shade::Common,
    }
}

/// Where squares are: `columns` in a row, `side` apart, `per_square` neighbours in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    side: u32,
    columns: u32,
    rows: u32,
    per_square: usize,
}

impl Grid {
    /// The largest squares with which so many pieces fit into this width.
    fn of(pieces: usize, width: u32) -> Self {
        let fit = |side: u32| {
            let (columns, rows) = ((width / side).max(1), (MOST_HEIGHT / side).max(1));
            (side, columns, rows, pieces.div_ceil(columns as usize * rows as usize).max(1))
        };
        let sizes = || SIDES.iter().copied().map(fit);
        let chosen = sizes().find(|(.., per_square)| *per_square == 1).or_else(|| sizes().next_back());
        let (side, columns, _, per_square) = chosen.unwrap_or((1, 1, 1, pieces.max(1)));
        let squares = pieces.div_ceil(per_square) as u32;
        Self { side, columns, rows: squares.div_ceil(columns), per_square }
    }

    /// Left upper corner of each square with its shade, in pixels.
    fn squares(self, states: &[PieceState]) -> impl Iterator<Item = (u32, u32, Shade)> + '_ {
        states.chunks(self.per_square).enumerate().map(move |(place, states)| {
            let shade = states.iter().copied().map(shade).min().unwrap_or(Shade::Nowhere);
            let place = place as u32;
            (place % self.columns * self.side, place / self.columns * self.side, shade)
        })
    }
}

/// Closed at first, and drawn only while it is open.
pub(super) fn piece_map(row: Row) -> AnyView {
    let ui = row.ui;
    let canvas = NodeRef::<Canvas>::new();
    let open = RwSignal::new(false);
    let drawn = StoredValue::new_local(None::<Drawn>);
    // With every snapshot, since the theme and the width may have changed, too.
    Effect::new(move |_| {
        ui.snapshot.track();
        if !open.get() {
            return;
        }
        if let Some(canvas) = canvas.get_untracked() {
            drawn.update_value(|drawn| {
                *drawn = row.read(|view| draw(&canvas, &view.piece_states, drawn.as_ref())).flatten();
            });
        }
    });
    let unknown = row.flag(|view| view.piece_states.is_empty());
    let label = row.text(move |view| Some(ui.say(&summary(view))));
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<HtmlDetailsElement>(&event).open());
    let legend = SHADES.map(|shade| {
        let (_, name, key) = shade.names();
        view! { <li><span class=format!("swatch {name}") aria-hidden="true"></span> <span>{ui.word(key)}</span></li> }
            .into_any()
    });
    view! {
        <details class="fold pieces-fold" data-testid="piece-map" hidden=unknown on:toggle=toggle>
            <summary>{icon("chevron")} <span>{ui.word("map.title")}</span></summary>
            <div class="piece-room">
                <canvas
                    class="piece-map"
                    node_ref=canvas
                    role="img"
                    aria-label=text(move || label.get())
                    data-testid="piece-canvas"
                ></canvas>
            </div>
            <ul class="swatches">{legend.into_iter().collect_view()}</ul>
        </details>
    }
    .into_any()
}

/// What the picture shows, for those who do not see it.
fn summary(view: &TorrentView) -> Phrase {
    let count = |wanted: fn(Shade) -> bool| {
        view.piece_states.iter().filter(|state| wanted(shade(**state))).count() as u64
    };
    Phrase::plain("map.summary")
        .with("have", Value::Count(count(|shade| shade == Shade::Have)))
        .with("flight", Value::Count(count(|shade| shade == Shade::InFlight)))
        .with("missing", Value::Count(count(|shade| shade < Shade::InFlight)))
        .with("nowhere", Value::Count(count(|shade| shade == Shade::Nowhere)))
}

/// What the canvas shows.
#[derive(PartialEq)]
struct Drawn {
    grid: Grid,
    /// The screen's pixels for each of CSS.
    ratio: f64,
    /// As [`SHADES`].
    colours: Vec<String>,
    squares: Vec<(u32, u32, Shade)>,
}

impl Drawn {
    /// Whether another picture differs in its squares' shades alone.
    fn fits(&self, other: &Self) -> bool {
        (self.grid, self.ratio, &self.colours) == (other.grid, other.ratio, &other.colours)
            && self.squares.len() == other.squares.len()
    }
}

/// Draws what differs from what was drawn there `before`.
fn draw(canvas: &HtmlCanvasElement, states: &[PieceState], before: Option<&Drawn>) -> Option<Drawn> {
    let width = canvas.parent_element()?.client_width().max(1) as u32;
    let grid = Grid::of(states.len(), width);
    let style = window().get_computed_style(canvas).ok()??;
    let colour = |shade: Shade| Some(style.get_property_value(shade.names().0).ok()?.trim().to_owned());
    let drawn = Drawn {
        grid,
        // Sharp on screens with more pixels than CSS has.
        ratio: window().device_pixel_ratio().clamp(1.0, 3.0),
        colours: SHADES.into_iter().map(colour).collect::<Option<_>>()?,
        squares: grid.squares(states).collect(),
    };
    let before = before.filter(|before| before.fits(&drawn));
    let context: CanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
    if before.is_none() {
        let pixels = |length: u32| (f64::from(length) * drawn.ratio).round() as u32;
        // Setting either clears it.
        canvas.set_width(pixels(grid.columns * grid.side));
        canvas.set_height(pixels(grid.rows * grid.side));
        context.scale(drawn.ratio, drawn.ratio).ok()?;
    }
    let gap = if grid.side > 4 { 1 } else { 0 };
    let side = f64::from(grid.side - gap);
    let is_new = |place: usize| before.is_none_or(|before| before.squares[place] != drawn.squares[place]);
    // One colour after the other: changing it costs more than a square.
    for (shade, colour) in SHADES.into_iter().zip(&drawn.colours) {
        context.set_fill_style_str(colour);
        for (place, (x, y, of)) in drawn.squares.iter().enumerate() {
            if *of == shade && is_new(place) {
                context.fill_rect(f64::from(*x), f64::from(*y), side, side);
            }
        }
    }
    Some(drawn)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_pieces_are_large_and_many_share_squares() {
        assert_eq!(Grid::of(10, 300), Grid { side: 14, columns: 21, rows: 1, per_square: 1 });
        assert_eq!(Grid::of(10_000, 720), Grid { side: 3, columns: 240, rows: 42, per_square: 1 });
        assert_eq!(Grid::of(100_000, 300).per_square, 14);
        assert_eq!(Grid::of(0, 300).rows, 0);
    }

    #[test]
    fn a_square_of_several_pieces_shows_what_is_missing_most() {
        let grid = Grid { side: 2, columns: 1, rows: 2, per_square: 2 };
        let states =
            [PieceState::Have, PieceState::Missing { peers: 0 }, PieceState::InFlight, PieceState::Have];
        let squares: Vec<_> = grid.squares(&states).collect();
        assert_eq!(squares, [(0, 0, Shade::Nowhere), (0, 2, Shade::InFlight)]);
    }

    proptest! {
        #[test]
        fn every_piece_has_a_square_inside_the_map(pieces in 1_usize..200_000, width in 1_u32..4_000) {
            let grid = Grid::of(pieces, width);
            prop_assert!(grid.columns as usize * grid.rows as usize * grid.per_square >= pieces);
            prop_assert!(grid.rows * grid.side <= MOST_HEIGHT + grid.side);
            prop_assert!(grid.columns == 1 || grid.columns * grid.side <= width);
        }
    }
}
