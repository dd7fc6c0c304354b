// Molecule viewer on a canvas: drag rotates, wheel zooms, slider and button play. No dependencies.
(function () {
  "use strict";
  var COLOURS = { H: "#e8e8e8", C: "#5b6470", N: "#3465c4", O: "#d03a2f", S: "#d8b020", P: "#e07a1f" };
  var RADII = { H: 0.35, C: 0.55, N: 0.55, O: 0.55, S: 0.7, P: 0.7 };

  function decode(text) {
    var raw = atob(text), bytes = new Uint8Array(raw.length);
    for (var i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Int16Array(bytes.buffer);
  }

  function start(root) {
    var data = JSON.parse(root.querySelector("script").textContent);
    var canvas = root.querySelector("canvas"), pen = canvas.getContext("2d");
    var slider = root.querySelector("input[type=range]"), button = root.querySelector("button");
    var choice = root.querySelector("select"), label = root.querySelector("output");
    var sets = data.sets.map(function (s) {
      return { name: s.name, coordinates: decode(s.coordinates), frames: s.frames, times: s.times };
    });
    var rotation = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1, current = sets[0], frame = 0, timer = null, drag = null;
    var count = data.elements.length, reach = 1;
    for (var i = 0; i < current.coordinates.length; i += 3) {
      var c = current.coordinates, r2 = c[i] * c[i] + c[i + 1] * c[i + 1] + c[i + 2] * c[i + 2];
      if (r2 > reach) reach = r2;
    }
    reach = Math.sqrt(reach);

    function turn(ax, ay) {
      var ca = Math.cos(ax), sa = Math.sin(ax), cb = Math.cos(ay), sb = Math.sin(ay);
      var m = [cb, 0, sb, sa * sb, ca, -sa * cb, -ca * sb, sa, ca * cb], out = [];
      for (var i = 0; i < 3; i++) for (var j = 0; j < 3; j++) {
        out.push(m[3 * i] * rotation[j] + m[3 * i + 1] * rotation[3 + j] + m[3 * i + 2] * rotation[6 + j]);
      }
      rotation = out;
      draw();
    }

    function draw() {
      var ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
      if (canvas.width !== Math.round(w * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, w, h);
      var scale = zoom * 0.42 * Math.min(w, h) / reach, points = [], items = [], offset = 3 * count * frame, i;
      for (i = 0; i < count; i++) {
        var x = current.coordinates[offset + 3 * i], y = current.coordinates[offset + 3 * i + 1];
        var z = current.coordinates[offset + 3 * i + 2], m = rotation;
        var p = [w / 2 + scale * (m[0] * x + m[1] * y + m[2] * z), h / 2 - scale * (m[3] * x + m[4] * y + m[5] * z),
          m[6] * x + m[7] * y + m[8] * z];
        points.push(p);
        items.push({ depth: p[2], atom: i });
      }
      data.bonds.forEach(function (b) {
        items.push({ depth: (points[b[0]][2] + points[b[1]][2]) / 2 - 1, bond: b });
      });
      items.sort(function (a, b) { return a.depth - b.depth; });
      var size = 85 * scale * (data.trace ? 0.6 : 1);
      items.forEach(function (item) {
        pen.globalAlpha = 0.55 + 0.45 * (item.depth + reach) / (2 * reach);
        if (item.bond) {
          var a = points[item.bond[0]], b = points[item.bond[1]];
          pen.strokeStyle = "#8a929c"; pen.lineWidth = Math.max(1, 0.28 * size); pen.lineCap = "round";
          pen.beginPath(); pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); pen.stroke();
          return;
        }
        var q = points[item.atom], element = data.elements[item.atom], radius = Math.max(1, (RADII[element] || 0.6) * size);
        var shade = pen.createRadialGradient(q[0] - radius / 3, q[1] - radius / 3, radius / 8, q[0], q[1], radius);
        shade.addColorStop(0, "#ffffff"); shade.addColorStop(0.35, COLOURS[element] || "#a05fb0");
        shade.addColorStop(1, COLOURS[element] || "#a05fb0");
        pen.fillStyle = shade; pen.strokeStyle = "rgba(0,0,0,.35)"; pen.lineWidth = 0.6;
        pen.beginPath(); pen.arc(q[0], q[1], radius, 0, 2 * Math.PI); pen.fill(); pen.stroke();
      });
      pen.globalAlpha = 1;
      label.textContent = (current.times[frame] / 1000).toFixed(3) + " ns, frame " + (frame + 1) + " of " + current.frames;
      root.dataset.frame = frame;
      root.dataset.rotation = rotation.map(function (v) { return v.toFixed(3); }).join(" ");
    }

    function show(index) { frame = index % current.frames; slider.value = frame; draw(); }
    function play() {
      if (timer) { clearInterval(timer); timer = null; button.textContent = "Play"; return; }
      button.textContent = "Pause";
      timer = setInterval(function () { show(frame + 1); }, 80);
    }
    sets.forEach(function (s, k) {
      var option = document.createElement("option");
      option.value = k; option.textContent = s.name; choice.appendChild(option);
    });
    choice.addEventListener("change", function () {
      current = sets[+choice.value]; slider.max = current.frames - 1; show(0);
    });
    slider.max = current.frames - 1;
    slider.addEventListener("input", function () { show(+slider.value); });
    button.addEventListener("click", play);
    canvas.addEventListener("pointerdown", function (e) { drag = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", function (e) {
      if (!drag) return;
      turn((e.clientY - drag[1]) / 120, (e.clientX - drag[0]) / 120);
      drag = [e.clientX, e.clientY];
    });
    canvas.addEventListener("pointerup", function () { drag = null; });
    canvas.addEventListener("wheel", function (e) { e.preventDefault(); zoom *= Math.exp(-e.deltaY / 600); draw(); }, { passive: false });
    canvas.addEventListener("keydown", function (e) {
      var step = { ArrowLeft: [0, -0.15], ArrowRight: [0, 0.15], ArrowUp: [-0.15, 0], ArrowDown: [0.15, 0] }[e.key];
      if (step) { e.preventDefault(); turn(step[0], step[1]); }
      if (e.key === " ") { e.preventDefault(); play(); }
    });
    window.addEventListener("resize", draw);
    turn(0.25, 0.35);
    root.dataset.ready = "yes";
  }
  document.querySelectorAll(".viewer").forEach(start);
})();
