// What to log, where nothing was.
import { element } from "./dom.js";

const CODE = `callback = limpet.MismatchCallback(net, config, metric_fn=accuracy, eval_batch=test_set)
with callback:
    for step, batch in enumerate(batches):
        params, opt_state, loss = update(params, opt_state, step, batch)
        callback(step, params, {"loss": loss})  # evaluates every robustness.every_steps steps`;

const ONE_CURVE = `curve = limpet.robustness_curve(accuracy, params, mismatch, sigmas=[0, 0.1, 0.2], batch=test_set)
writer = limpet.tensorboard.start_run("runs/mine")
writer.curve(curve, step=1000, target=0.9)
writer.close()`;

export function emptyState() {
  return element(
    "section",
    { className: "card empty" },
    element("h2", {}, "No robustness curves here yet"),
    element("p", {}, "This tab shows how a metric holds on over mismatch sigma, on many virtual chips. Log curves while you train:"),
    element("pre", {}, CODE),
    element("p", {}, "or log one that you measured:"),
    element("pre", {}, ONE_CURVE),
    element("p", {}, "and point TensorBoard's --logdir at that directory, or at one above it. This page looks again every 15 seconds."),
  );
}
