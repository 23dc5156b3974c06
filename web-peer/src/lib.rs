//! The browser around the engine.
