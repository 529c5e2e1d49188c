//! The plot of the kernel's figures: for each workload a bar of ours beside upstream's.

use std::path::Path;

use crate::error::Error;
use crate::kernel_rows::Rows;
use crate::kernel_targets::{NO_FASTPATH, Reference, WORKLOADS};
use crate::plot::{Bar, Panel, Scale, draw_panels};

/// Draws `kernel.svg` and `kernel-fpu.svg` into `dir`: a panel for each variant that was measured.
///
/// # Errors
/// `Plot` when a file cannot be written.
pub fn plot(rows: &Rows, dir: &Path) -> Result<(), Error> {
    let panel = |variant, words: &str| Panel {
        title: format!("Instructions, {words}"),
        bars: bars(rows, variant),
        scale: Scale::Linear,
    };
    let without = vec![
        panel("fpu_off", "floating point disabled"),
        panel(NO_FASTPATH, "the same on kernels without fast path"),
    ];
    let with = vec![
        panel("fpu_on", "floating point enabled, not used"),
        panel("fpu_used", "both sides use floating point"),
    ];
    draw_panels(&dir.join("kernel.svg"), without)?;
    draw_panels(&dir.join("kernel-fpu.svg"), with)
}

fn bars(rows: &Rows, variant: &str) -> Vec<Bar> {
    let mut bars = Vec::new();
    for workload in &WORKLOADS {
        let Some(value) = rows.get(workload.name, variant, "instructions") else {
            continue;
        };
        bars.push(Bar {
            label: format!("Baton, {}", workload.name),
            value,
        });
        if let Some(reference) = workload.reference(rows, variant) {
            let label = match reference {
                Reference::Measured(_) => "seL4",
                Reference::Recorded(_) => "seL4, recorded",
            };
            bars.push(Bar {
                label: label.to_owned(),
                value: reference.value(),
            });
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_stands_beside_upstreams() {
        let rows = Rows::parse(
            "call,fpu_off,1,instructions,200,instructions\n\
             signal,fpu_off,1,instructions,300,instructions\n\
             signal,upstream_fpu_off,1,instructions,430,instructions\n",
        )
        .expect("rows");
        let labels: Vec<(String, f64)> = bars(&rows, "fpu_off")
            .into_iter()
            .map(|bar| (bar.label, bar.value))
            .collect();
        let expected = [
            ("Baton, call", 200.0),
            ("seL4, recorded", 249.0),
            ("Baton, signal", 300.0),
            ("seL4", 430.0),
        ];
        assert_eq!(
            labels,
            expected.map(|(label, value)| (label.to_owned(), value))
        );
        assert!(bars(&rows, "fpu_on").is_empty());
    }
}
