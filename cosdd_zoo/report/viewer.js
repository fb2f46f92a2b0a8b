// Pictures that zoom and move together, and a line between before and after. No library, no network.
"use strict";
for (const viewer of document.querySelectorAll(".viewer")) {
  const width = Number(viewer.dataset.width), height = Number(viewer.dataset.height);
  const panes = [...viewer.querySelectorAll(".pane")];
  const said = viewer.querySelector("output");
  const place = { zoom: 1, x: 0.5, y: 0.5 }; // the image's point in the middle of each pane, in shares of its sides
  const most = 16;

  for (const image of viewer.querySelectorAll("img[data-copy]")) {
    image.src = viewer.querySelector(`img[data-key="${image.dataset.copy}"]`).src;
  }

  function show() {
    place.zoom = Math.min(most, Math.max(1, place.zoom));
    const half = 0.5 / place.zoom;
    for (const axis of ["x", "y"]) place[axis] = Math.min(1 - half, Math.max(half, place[axis]));
    for (const pane of panes) {
      const shift = `translate(${(0.5 - place.x * place.zoom) * 100}%, ${(0.5 - place.y * place.zoom) * 100}%)`;
      pane.style.touchAction = place.zoom > 1 ? "none" : "pan-y"; // a finger scrolls the page until it zooms
      for (const image of pane.querySelectorAll("img")) image.style.transform = `${shift} scale(${place.zoom})`;
    }
    viewer.dataset.zoom = place.zoom.toFixed(3);
    viewer.dataset.at = `${place.x.toFixed(4)},${place.y.toFixed(4)}`;
    said.textContent = place.zoom > 1 ? `${place.zoom.toFixed(1)} times` : `${width} × ${height} px`;
    compare();
  }

  // keeps the image's point under (x, y), in shares of the pane, where it is
  function zoom(by, x = 0.5, y = 0.5) {
    const before = place.zoom;
    place.zoom = Math.min(most, Math.max(1, before * by));
    place.x += (x - 0.5) * (1 / before - 1 / place.zoom);
    place.y += (y - 0.5) * (1 / before - 1 / place.zoom);
    show();
  }

  const slider = viewer.querySelector("input[type=range]");
  const before = viewer.querySelector(".before"), line = viewer.querySelector(".line");

  // the line stands still in the pane, while the images move below it
  function compare() {
    const at = slider.value / 100;
    const inImage = Math.min(1, Math.max(0, place.x + (at - 0.5) / place.zoom));
    before.style.clipPath = `inset(0 ${(1 - inImage) * 100}% 0 0)`;
    line.style.left = `${at * 100}%`;
  }
  slider.addEventListener("input", compare);

  for (const button of viewer.querySelectorAll("button[data-zoom]")) {
    button.addEventListener("click", () => {
      if (button.dataset.zoom === "reset") Object.assign(place, { zoom: 1, x: 0.5, y: 0.5 });
      else place.zoom *= button.dataset.zoom === "in" ? 1.5 : 1 / 1.5;
      show();
    });
  }

  const touching = new Map();
  for (const pane of panes) {
    const inside = (event) => {
      const box = pane.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    pane.addEventListener("wheel", (event) => {
      if (place.zoom === 1 && event.deltaY > 0) return; // the page scrolls on
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.002)), ...inside(event));
    }, { passive: false });
    pane.addEventListener("pointerdown", (event) => {
      touching.set(event.pointerId, inside(event));
      pane.setPointerCapture(event.pointerId);
    });
    pane.addEventListener("pointermove", (event) => {
      if (!touching.has(event.pointerId)) return;
      const [x, y] = inside(event), [oldX, oldY] = touching.get(event.pointerId);
      const others = [...touching].filter(([id]) => id !== event.pointerId);
      if (others.length === 1) {
        const [otherX, otherY] = others[0][1];
        const apart = (a, b) => Math.hypot(a - otherX, b - otherY) || 1e-6;
        zoom(apart(x, y) / apart(oldX, oldY), (x + otherX) / 2, (y + otherY) / 2);
      } else {
        place.x -= (x - oldX) / place.zoom;
        place.y -= (y - oldY) / place.zoom;
        show();
      }
      touching.set(event.pointerId, [x, y]);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      pane.addEventListener(end, (event) => touching.delete(event.pointerId));
    }
    pane.addEventListener("keydown", (event) => {
      const step = 0.1 / place.zoom;
      const keys = {
        "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5),
        "0": () => { Object.assign(place, { zoom: 1, x: 0.5, y: 0.5 }); show(); },
        ArrowLeft: () => { place.x -= step; show(); }, ArrowRight: () => { place.x += step; show(); },
        ArrowUp: () => { place.y -= step; show(); }, ArrowDown: () => { place.y += step; show(); },
      };
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      if (event.key.startsWith("Arrow") && place.zoom === 1) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
  show();
}
