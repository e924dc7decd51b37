// The terminal of a shell in a notebook: xterm.js, fed with bytes by Python.
//
// Python puts two constants before this text: XTERM and FIT, the sources of the modules. They are loaded from memory,
// because a page may have no network, and once for all terminals of a page.
//
// From here: {type: "hello" | "size", rows, cols}, {type: "ack", bytes}, and
// {type: "in", page, number, data}: messages may overtake each other on their way, so Python puts them in order.
// From Python: {type: "out"} with one buffer, {type: "reset"} before everything is told again, {type: "end", text}.

async function moduleOf(source) {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

const KEY = Symbol.for("depotlab.xterm");

function modules() {
  globalThis[KEY] ??= Promise.all([moduleOf(XTERM), moduleOf(FIT)]);
  return globalThis[KEY];
}

async function render({ model, el }) {
  const [{ Terminal }, { FitAddon }] = await modules();
  const host = document.createElement("div");
  host.className = "depotlab-shell";
  // The page's own shortcuts would take keys away from the shell.
  host.dataset.lmSuppressShortcuts = "true";
  for (const name of ["keydown", "keyup", "keypress", "paste", "contextmenu"]) {
    host.addEventListener(name, (event) => event.stopPropagation());
  }
  const bar = document.createElement("div");
  bar.className = "depotlab-shell-bar";
  bar.textContent = model.get("title");
  const box = document.createElement("div");
  box.className = "depotlab-shell-box";
  box.style.height = `${model.get("height_px")}px`;
  host.append(bar, box);
  el.append(host);

  const terminal = new Terminal({
    cursorBlink: true,
    fontSize: 13,
    fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    scrollback: 5000,
    theme: { background: "#1e1e1e" },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(box);
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== "keydown" || !(event.ctrlKey || event.metaKey)) return true;
    const key = event.key.toLowerCase();
    if (key === "v") return false; // the page pastes
    if (key === "c" && (terminal.hasSelection() || event.shiftKey)) {
      navigator.clipboard?.writeText(terminal.getSelection());
      terminal.clearSelection();
      event.preventDefault();
      return false;
    }
    return true;
  });

  const size = () => ({ rows: terminal.rows, cols: terminal.cols });
  let closed = false;
  const send = (message) => {
    if (!closed) model.send(message);
  };
  const onMessage = (message, buffers) => {
    if (message.type === "out") {
      const view = buffers[0];
      const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
      terminal.write(bytes, () => send({ type: "ack", bytes: bytes.byteLength }));
    } else if (message.type === "reset") {
      terminal.reset();
    } else if (message.type === "end") {
      terminal.write(`\r\n\x1b[2m[${message.text}]\x1b[0m\r\n\x1b[?25l`);
      terminal.options.disableStdin = true;
      bar.textContent = `${model.get("title")} · ${message.text}`;
    }
  };
  model.on("msg:custom", onMessage);
  const page = `${Date.now()}-${Math.random()}`;
  let number = 0;
  terminal.onData((data) => send({ type: "in", page, number: number++, data }));
  terminal.onResize(() => send({ type: "size", ...size() }));
  const refit = () => {
    if (box.clientWidth) fit.fit();
  };
  const observer = new ResizeObserver(refit);
  observer.observe(box);
  refit();
  send({ type: "hello", ...size() });
  terminal.focus();

  return () => {
    closed = true;
    observer.disconnect();
    model.off("msg:custom", onMessage);
    terminal.dispose();
  };
}

export default { render };
