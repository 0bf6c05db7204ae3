/** The camera: its latest frame is recognised, as often as the box can answer. */

import { announce } from "./announce.js";
import { ApiError, classify } from "./api.js";
import { byId, find, instantiate } from "./elements.js";
import { decimal, errorKey, labelOf, percent, t } from "./i18n.js";
import { nextFrame, openCamera, problemOf, toBlob } from "./lens.js";
import { pauseFor } from "./pause.js";
import { settings } from "./settings.js";

const ROWS = 3;
/** Answers that the rate is the mean of. */
const REMEMBERED = 8;

const section = byId("camera");
const video = /** @type {HTMLVideoElement} */ (find(section, "video"));
const choice = /** @type {HTMLSelectElement} */ (byId("camera-choice"));
const rows = find(section, ".predictions");

/** The view that runs; null when the camera is off. @type {AbortController | null} */
let running = null;

/** @param {string} key The words for what is wrong; empty when nothing is. */
function tell(key) {
  const note = byId("camera-problem");
  note.dataset.i18n = key;
  note.textContent = t(key);
  if (key) announce(t(key));
}

/** @param {import("./api.js").Result} result */
function showResult({ predictions }) {
  [...rows.children].forEach((child, place) => {
    const row = /** @type {HTMLElement} */ (child);
    const one = predictions[place];
    row.hidden = !one;
    if (!one) return;
    find(row, ".label").textContent = labelOf(one);
    find(row, ".percent").textContent = percent(one.score);
    row.style.setProperty("--share", String(one.score));
  });
}

/** @param {number[]} answered When the latest answers came, in ms. @param {number} taken When the frame was. */
function showPace(answered, taken) {
  const [first, now] = [answered.at(0) ?? taken, answered.at(-1) ?? taken];
  const span = (now - first) / 1000;
  const rate = span ? decimal((answered.length - 1) / span) : "–";
  byId("camera-pace").textContent = t("camera.pace", { rate, age: Math.round(now - taken) });
}

/** @param {AbortSignal} signal Ends the view. */
async function watch(signal) {
  /** @type {number[]} */
  const answered = [];
  const cannotWait = new Set(["queue_full", "deadline_exceeded", "too_many_uploads"]);
  while (!signal.aborted) {
    const taken = await nextFrame(video);
    if (signal.aborted) return;
    try {
      const result = await classify(await toBlob(video), { ...settings(), explain: false }, signal);
      if (signal.aborted) return;
      answered.push(performance.now());
      if (answered.length > REMEMBERED) answered.shift();
      showResult(result);
      showPace(answered, taken);
      tell("");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) || !cannotWait.has(error.code)) throw error;
      tell(errorKey(error.code));
      await pauseFor(error.retryAfter || 1, signal);
    }
  }
}

/** @param {MediaStream} stream @param {AbortSignal} signal */
async function listCameras(stream, signal) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  if (signal.aborted) return;
  const cameras = devices.filter(({ kind }) => kind === "videoinput");
  const options = cameras.map(({ deviceId, label }, place) => {
    const option = document.createElement("option");
    option.value = deviceId;
    option.textContent = label || t("camera.number", { number: place + 1 });
    return option;
  });
  choice.replaceChildren(...options);
  choice.value = stream.getVideoTracks()[0]?.getSettings().deviceId ?? "";
}

/** Turn the camera off, and hide its view. */
function closeCamera() {
  running?.abort();
  running = null;
  const stream = /** @type {MediaStream | null} */ (video.srcObject);
  stream?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  byId("camera-view").hidden = true;
}

/** @param {string} [device] The camera that is wanted. */
async function open(device) {
  closeCamera();
  running = new AbortController();
  const { signal } = running;
  section.hidden = false;
  tell("");
  try {
    const stream = await openCamera(device);
    if (signal.aborted) {
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    video.srcObject = stream;
    byId("camera-view").hidden = false;
    await video.play();
    await listCameras(stream, signal);
    await watch(signal);
  } catch (error) {
    if (signal.aborted) return;
    closeCamera();
    tell(error instanceof ApiError ? errorKey(error.code) : problemOf(error));
  }
}

/** Turn the camera off, and go back to where it was opened. */
export function leaveCamera() {
  closeCamera();
  section.hidden = true;
  byId("camera-open").focus();
}

/** @param {(files: File[]) => void} take Gets the frame that the person keeps. */
export function startCamera(take) {
  rows.append(...Array.from({ length: ROWS }, () => instantiate("prediction-template")));
  byId("camera-open").addEventListener("click", () => open());
  byId("camera-close").addEventListener("click", leaveCamera);
  choice.addEventListener("change", () => open(choice.value));
  byId("camera-keep").addEventListener("click", async () => {
    take([new File([await toBlob(video)], "camera-picture.jpg", { type: "image/jpeg" })]);
  });
}
