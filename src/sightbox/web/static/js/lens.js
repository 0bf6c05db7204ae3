/** What the browser's camera gives: a stream, its frames, and its refusals. */

/** The longer side of a frame that is sent, in pixels: the networks see fewer. */
const LONGEST = 640;

/** The words for each refusal (Media Capture and Streams, section 10.2). @type {Record<string, string>} */
const PROBLEMS = {
  NotAllowedError: "camera.refused",
  NotFoundError: "camera.absent",
  OverconstrainedError: "camera.absent",
  NotReadableError: "camera.taken",
};

/** @param {unknown} error @returns {string} The key of its words. */
export const problemOf = (error) => PROBLEMS[/** @type {Error} */ (error)?.name] ?? "camera.failed";

/** A page that may not ask for a camera, since it came over a network without TLS. */
class InsecureError extends Error {
  /** @override */
  name = "InsecureError";
}
PROBLEMS.InsecureError = "camera.insecure";

/**
 * @param {string} [device] Its id; without one the camera that looks away from the person.
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(device) {
  if (!isSecureContext || !navigator.mediaDevices) throw new InsecureError();
  const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  return navigator.mediaDevices.getUserMedia({ video: { ...which, width: { ideal: LONGEST } } });
}

/** @param {HTMLVideoElement} video @returns {Promise<number>} When the next frame was there, in ms. */
export const nextFrame = (video) =>
  new Promise((resolve) => video.requestVideoFrameCallback((now) => resolve(now)));

/** @param {HTMLVideoElement} video @returns {Promise<Blob>} The frame that it shows, as JPEG. */
export function toBlob(video) {
  const { videoWidth: width, videoHeight: height } = video;
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no frame"))), "image/jpeg", 0.9);
  });
}
