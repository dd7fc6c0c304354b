// Shows the molecule of a page with 3Dmol.js: choice of trajectory, slider over frames, play.
document.querySelectorAll(".viewer").forEach(function (root) {
  "use strict";
  const data = JSON.parse(root.querySelector("script").textContent);
  const scene = root.querySelector(".scene"), slider = root.querySelector("input"), label = root.querySelector("output");
  const button = root.querySelector("button"), choice = root.querySelector("select");
  let viewer, model, set = data.sets[0], timer = null;
  try {
    viewer = $3Dmol.createViewer(scene, { backgroundColor: "#fbfcfd" });
    if (!viewer) throw new Error("no viewer");
  } catch (error) {
    scene.textContent = "This browser cannot show the molecule: it has no WebGL.";
    root.dataset.ready = "no";
    return;
  }
  const styles = {
    atoms: { stick: { radius: 0.12 }, sphere: { scale: 0.22 } },
    backbone: { cartoon: { color: "spectrum", thickness: 0.4 }, line: {} },
    trace: { cartoon: { color: "spectrum", style: "trace", thickness: 0.4 } },
  };

  function show(frame) {
    slider.value = frame;
    root.dataset.frame = frame;
    label.textContent = "frame " + (frame + 1) + " of " + set.frames.length + ", " + set.times[frame] + data.unit;
    return viewer.setFrame(frame).then(function () { viewer.render(); });
  }

  function load(index) {
    set = data.sets[index];
    viewer.removeAllModels();
    model = viewer.addModel();
    model.addAtoms(data.atoms.map(function (atom, i) {
      const x = set.frames[0];
      return Object.assign({}, atom, { x: x[3 * i], y: x[3 * i + 1], z: x[3 * i + 2] });
    }));
    model.setCoordinates(set.frames, "array");
    viewer.setStyle({}, styles[data.style]);
    viewer.zoomTo();
    slider.max = set.frames.length - 1;
    return show(0);
  }

  function play() {
    if (timer !== null) {
      clearInterval(timer);
      timer = null;
    } else {
      timer = setInterval(function () { show((+slider.value + 1) % set.frames.length); }, 60);
    }
    button.textContent = timer === null ? "Play" : "Pause";
  }

  data.sets.forEach(function (one, i) { choice.add(new Option(one.name, i)); });
  choice.hidden = data.sets.length < 2;
  choice.addEventListener("change", function () { load(+choice.value); });
  slider.addEventListener("input", function () { show(+slider.value); });
  button.addEventListener("click", play);
  scene.addEventListener("keydown", function (event) {
    if (event.key === " ") { event.preventDefault(); play(); }
  });
  root.molecule = viewer;
  load(0).then(function () { root.dataset.ready = "yes"; });
});
