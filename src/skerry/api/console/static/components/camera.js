/** Photograph with the device's camera: live picture, one button. */

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { ErrorNotice, Loading } from "./notice.js";

const JPEG_QUALITY = 0.92;
const REMEDIES = {
  NotAllowedError: "Allow the camera in the browser's site settings, or choose a photo instead.",
  NotFoundError: "No camera is connected. Choose a photo instead.",
  NotReadableError: "Another program uses the camera. Close it, then try again.",
};

/** Browsers hand out the camera on https and on loopback only. */
export const cameraAvailable = () => Boolean(navigator.mediaDevices?.getUserMedia);

export function CameraDialog({ onPhoto, onClose }) {
  const video = useRef(null);
  const [state, setState] = useState({ phase: "starting", error: null });

  useEffect(() => {
    let stream = null;
    let closed = false;
    openCamera().then((opened) => {
      stream = opened;
      if (closed) return stop(stream);
      video.current.srcObject = stream;
      return video.current.play().then(() => !closed && setState({ phase: "live", error: null }));
    }).catch((error) => !closed && setState({ phase: "failed", error: explain(error) }));
    return () => {
      closed = true;
      stop(stream);
    };
  }, []);

  const shoot = async () => {
    const photo = await grab(video.current);
    onClose();
    onPhoto(photo);
  };

  return html`<${Dialog} title="Take a photo" onClose=${onClose}>
    <div class="dialog-body">
      <div class="camera">
        <video ref=${video} muted playsinline aria-label="Camera picture"></video>
        ${state.phase === "starting" && html`<${Loading} label="Starting the camera" />`}
      </div>
      ${state.error && html`<${ErrorNotice} error=${state.error} />`}
    </div>
    <footer class="dialog-foot">
      <button class="button" onClick=${onClose}>Cancel</button>
      <button class="button primary" disabled=${state.phase !== "live"} onClick=${shoot}>
        <${Icon} name="camera" /> Take photo
      </button>
    </footer>
  </${Dialog}>`;
}

function openCamera() {
  const video = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
  return navigator.mediaDevices.getUserMedia({ video, audio: false });
}

const stop = (stream) => stream?.getTracks().forEach((track) => track.stop());

async function grab(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-").replace("T", " ");
  return new File([blob], `Photo ${time}.jpg`, { type: "image/jpeg" });
}

const explain = (error) => ({ message: "The camera can't be used.", remedy: REMEDIES[error.name] ?? error.message });
