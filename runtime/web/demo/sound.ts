/** Sound from files, from the microphone, and to files. */

/** Decode any file that the browser can play; returns (n,), the mean of its channels at a rate. */
export async function decode(file: Blob, sampleRate: number): Promise<Float32Array> {
  const context = new OfflineAudioContext(1, 1, sampleRate);
  let sound: AudioBuffer;
  try {
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    throw new Error("your browser cannot decode this file: try WAV, MP3, MP4, Ogg or FLAC", { cause: error });
  }
  const mix = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; ++channel) {
    const samples = sound.getChannelData(channel);
    for (let i = 0; i < mix.length; ++i) mix[i] = mix[i]! + samples[i]! / sound.numberOfChannels;
  }
  return mix;
}

/** Open the microphone; throws where it is refused. */
export async function openMicrophone(): Promise<MediaStream> {
  // What browsers do for calls would take one of two voices for noise.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  if (!isSecureContext) throw new Error("browsers give the microphone only to pages by HTTPS or from localhost");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`no microphone (${why}): allow it for this page, or choose a file`, { cause: error });
  }
}

/** Let go of the microphone. */
export function stopMicrophone(microphone: MediaStream): void {
  for (const track of microphone.getTracks()) track.stop();
}

/** A recording that began; `stop` returns it. Throws where the microphone is refused. */
export async function record(): Promise<{ stop: () => Promise<Blob> }> {
  const microphone = await openMicrophone();
  try {
    const recorder = new MediaRecorder(microphone);
    const parts: Blob[] = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const ended = new Promise((resolve) => (recorder.onstop = resolve)); // also where the microphone is gone
    recorder.start();
    return {
      stop: async () => {
        if (recorder.state !== "inactive") recorder.stop();
        await ended;
        stopMicrophone(microphone);
        return new Blob(parts);
      },
    };
  } catch (error) {
    stopMicrophone(microphone);
    throw error;
  }
}

/** Return a WAV file of one channel in 16 bits. */
export function wavOf(samples: Float32Array, sampleRate: number): Blob {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at: number, letters: string): void => {
    for (let i = 0; i < letters.length; ++i) view.setUint8(at + i, letters.charCodeAt(i));
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // integers
  view.setUint16(22, 1, true); // channel
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => {
    view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true);
  });
  return new Blob([view], { type: "audio/wav" });
}
