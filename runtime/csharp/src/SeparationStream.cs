using System;
using System.Runtime.InteropServices;

namespace TisdissRt
{
    /// <summary>Live sound, opened by <see cref="Separator.OpenStream"/>. Not thread-safe.</summary>
    /// <remarks>The methods throw <see cref="TisdissException"/>.</remarks>
    public sealed class SeparationStream : IDisposable
    {
        private readonly StreamHandle handle;
        private readonly int sources;

        internal SeparationStream(StreamHandle handle, int sources)
        {
            this.handle = handle;
            this.sources = sources;
        }

        /// <summary>What happened since the beginning or the last reset.</summary>
        public Report Report
        {
            get
            {
                var report = new Native.Report { size = Native.Size<Native.Report>() };
                Native.Check(Native.tisdiss_stream_get_report(handle, ref report));
                return new Report(report);
            }
        }

        /// <summary>Returns how many samples of each voice <see cref="Process(float[])"/> will return.</summary>
        public int Ready(int samples)
        {
            if (samples < 0)
            {
                throw new ArgumentOutOfRangeException(nameof(samples));
            }
            return (int)Native.tisdiss_stream_ready(handle, (UIntPtr)samples);
        }

        /// <summary>Pushes a chunk of any length; returns the output that is ready, an array for each voice.</summary>
        public float[][] Process(float[] chunk)
        {
            chunk = chunk ?? throw new ArgumentNullException(nameof(chunk));
            int ready = Ready(chunk.Length);
            var flat = new float[checked(sources * ready)];
            Process(chunk, flat);
            return Native.Rows(flat, sources, ready);
        }

        /// <summary>Does the same in memory of the caller.</summary>
        /// <param name="chunk">The sound.</param>
        /// <param name="rows">Receives a row of equal length for each voice, of at least Ready(chunk.Length).</param>
        /// <returns>Number of samples written to each row.</returns>
        public int Process(ReadOnlySpan<float> chunk, Span<float> rows)
        {
            var capacity = (UIntPtr)(rows.Length / sources);
            Native.Check(Native.tisdiss_stream_process(handle, ref MemoryMarshal.GetReference(chunk),
                (UIntPtr)chunk.Length, ref MemoryMarshal.GetReference(rows), capacity, out UIntPtr given));
            return (int)given;
        }

        /// <summary>Does the same with the beginning of an array.</summary>
        public int Process(float[] chunk, int samples, float[] rows)
        {
            chunk = chunk ?? throw new ArgumentNullException(nameof(chunk));
            rows = rows ?? throw new ArgumentNullException(nameof(rows));
            if (samples < 0 || samples > chunk.Length)
            {
                throw new ArgumentOutOfRangeException(nameof(samples));
            }
            return Process(new ReadOnlySpan<float>(chunk, 0, samples), rows);
        }

        /// <summary>Ends the stream; returns the rest: the whole output is as long as the whole input.</summary>
        public float[][] Flush()
        {
            UIntPtr rest = Native.tisdiss_stream_rest(handle);
            var flat = new float[checked(sources * (int)rest)];
            Span<float> rows = flat;
            Native.Check(Native.tisdiss_stream_flush(handle, ref MemoryMarshal.GetReference(rows), rest, out UIntPtr _));
            return Native.Rows(flat, sources, (int)rest);
        }

        /// <summary>Begins anew, as if just opened, but keeps what was measured about the machine's speed.</summary>
        public void Reset() => Native.Check(Native.tisdiss_stream_reset(handle));

        /// <summary>Sets the depth of later steps, up to the depth that the stream was opened with.</summary>
        public void SetDepth(int depth) => Native.Check(Native.tisdiss_stream_set_depth(handle, depth));

        /// <summary>Frees the stream.</summary>
        public void Dispose() => handle.Dispose();
    }
}
