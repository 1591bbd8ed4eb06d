/** Mixture and voices below each other: what they look like, which is heard, where it stands, and files of them. */

import { Player } from "./player.js";
import { wavOf } from "./sound.js";
import { drawSpectrogram, loudestOf } from "./spectrogram.js";

/** What is on the page, to be replaced by the next. */
export interface Shown {
  readonly player: Player;
  readonly addresses: readonly string[]; // of files to download
  readonly ended: AbortController; // of what listens to the page
}

/**
 * Show tracks of one length, the mixture first.
 *
 * @param box has the elements of the player.
 * @param before what was shown: its place and its choice are kept where they fit.
 */
export function showTracks(
  box: HTMLElement,
  name: string,
  tracks: readonly Float32Array[],
  sampleRate: number,
  before: Shown | null,
): Shown {
  const player = new Player(tracks, sampleRate);
  const ended = new AbortController();
  if (before !== null) {
    player.heard = Math.min(before.player.heard, tracks.length - 1);
    if (before.player.lengthS === player.lengthS) void player.seek(before.player.positionS);
    before.ended.abort();
    before.addresses.forEach((address) => URL.revokeObjectURL(address));
    void before.player.close();
  }
  box.hidden = false;
  const addresses = tracks.map((track) => URL.createObjectURL(wavOf(track, sampleRate)));
  const rows = tracks.map((_, track) => rowOf(track, name, addresses[track]!));
  box.querySelector("#tracks")!.replaceChildren(...rows.map((row) => row.box));
  const loudest = loudestOf(tracks[0]!);
  const draw = (): void => rows.forEach(({ canvas }, track) => drawSpectrogram(canvas, tracks[track]!, loudest));
  draw();
  addEventListener("resize", draw, { signal: ended.signal });
  listen(box, rows, player, ended.signal);
  return { player, addresses, ended };
}

interface Row {
  readonly box: HTMLElement;
  readonly radio: HTMLInputElement;
  readonly canvas: HTMLCanvasElement;
  readonly line: HTMLElement; // where it stands
}

function rowOf(track: number, name: string, address: string): Row {
  const label = track === 0 ? "Mixture" : `Voice ${track}`;
  const box = document.createElement("div");
  box.className = "track";
  const file = `${name.replace(/\.[^.]*$/, "").replaceAll(" ", "_")}_spk${track}.wav`;
  const download = track === 0 ? "" : `<a download>Download voice ${track}</a>`;
  box.innerHTML =
    `<div class="row"><label><input type="radio" name="track"> ${label}</label>${download}</div>` +
    `<div class="view"><canvas role="img" aria-label="Spectrogram: ${label}"></canvas><i></i></div>`;
  const link = box.querySelector("a");
  if (link) Object.assign(link, { href: address, download: file });
  return {
    box,
    radio: box.querySelector("input")!,
    canvas: box.querySelector("canvas")!,
    line: box.querySelector("i")!,
  };
}

function listen(box: HTMLElement, rows: readonly Row[], player: Player, signal: AbortSignal): void {
  const button = box.querySelector<HTMLButtonElement>("#play")!;
  const slider = box.querySelector<HTMLInputElement>("#position")!;
  const time = box.querySelector("#time")!;
  slider.max = String(player.lengthS);

  const show = (): void => {
    const { positionS, lengthS, isPlaying } = player;
    button.textContent = isPlaying ? "Pause" : "Play";
    slider.value = String(positionS);
    time.textContent = `${positionS.toFixed(1)} of ${lengthS.toFixed(1)} s`;
    for (const { line } of rows) line.style.left = `${(100 * positionS) / lengthS}%`;
    if (isPlaying && !signal.aborted) requestAnimationFrame(show);
  };
  const toggle = async (): Promise<void> => {
    if (player.isPlaying) player.pause();
    else await player.play();
    show();
  };
  const hear = (track: number): void => {
    player.listen(track);
    rows.forEach((row, i) => {
      row.radio.checked = i === track;
      row.box.classList.toggle("heard", i === track);
    });
  };
  const seek = async (positionS: number): Promise<void> => {
    await player.seek(positionS);
    show();
  };

  player.onEnded = show;
  button.addEventListener("click", toggle, { signal });
  slider.addEventListener("input", () => seek(slider.valueAsNumber), { signal });
  rows.forEach(({ radio, canvas }, track) => {
    radio.addEventListener("change", () => hear(track), { signal });
    canvas.addEventListener("click", (event) => {
      hear(track);
      void seek((event.offsetX / canvas.clientWidth) * player.lengthS);
    });
  });
  document.addEventListener(
    "keydown",
    (event) => {
      const isFree = !(event.target as HTMLElement).closest("button, input, select, a") && !event.ctrlKey && !event.metaKey;
      if (isFree && event.key === " ") {
        event.preventDefault();
        if (!event.repeat) void toggle();
      }
      const track = Number.parseInt(event.key, 10);
      if (!event.ctrlKey && !event.metaKey && !event.altKey && track < rows.length) hear(track);
    },
    { signal },
  );
  hear(player.heard);
  show();
}
