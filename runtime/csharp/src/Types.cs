using System;

namespace TisdissRt
{
    /// <summary>Why a call failed.</summary>
    public enum Status
    {
        /// <summary>Success.</summary>
        Ok = 0,
        /// <summary>A buffer is too small, or the sound has NaN or infinity.</summary>
        Argument = 1,
        /// <summary>An option has an impossible value, or this bundle does not have it.</summary>
        Option = 2,
        /// <summary>The folder is not a bundle or is damaged, or the network failed.</summary>
        Bundle = 3,
        /// <summary>ONNX Runtime is missing, too old, or does not have the provider.</summary>
        OnnxRuntime = 4,
        /// <summary>A stream of an offline bundle.</summary>
        Unsupported = 5,
        /// <summary>The stream has ended or failed: reset it; or another thread uses it.</summary>
        State = 6,
        /// <summary>Not enough memory.</summary>
        Memory = 7,
        /// <summary>A fault of the library.</summary>
        Internal = 8,
        /// <summary>By the caller.</summary>
        Cancelled = 9
    }

    /// <summary>A failed call; the message is one line that says what to do.</summary>
    public sealed class TisdissException : Exception
    {
        internal TisdissException(Status status, IntPtr text) : base(Native.FromUtf8(text))
        {
            Status = status;
        }

        /// <summary>Why the call failed.</summary>
        public Status Status { get; }
    }

    /// <summary>How to open a bundle.</summary>
    public sealed class OpenOptions
    {
        /// <summary>Path of ONNX Runtime's library; null means TISDISS_ONNXRUNTIME, or its usual names.</summary>
        public string OnnxRuntime { get; set; }

        /// <summary>"auto" (CUDA where it works), "cpu" or "cuda".</summary>
        public string Provider { get; set; } = "auto";

        /// <summary>"auto", or one that the bundle carries.</summary>
        public string Precision { get; set; } = "auto";

        /// <summary>0 means one per physical core, or as many as the CPU quota of a container pays for; a single one
        /// for a streaming bundle.</summary>
        public int Threads { get; set; }
    }

    /// <summary>How to separate; with neither budget nor depth, at the trained depth.</summary>
    public sealed class RunOptions
    {
        /// <summary>Milliseconds that a window, or a step of a stream, may take; null means no budget.</summary>
        public double? BudgetMs { get; set; }

        /// <summary>Repetitions of the block, instead of a budget; null means the trained depth.</summary>
        public int? Depth { get; set; }

        /// <summary>With a budget, repetitions that always run.</summary>
        public int MinDepth { get; set; } = 1;

        /// <summary>Length of the windows of an offline bundle; null means as planned, or the longest.</summary>
        public double? WindowS { get; set; }

        /// <summary>A repetition runs only where it is expected to add as many dB; null means any.</summary>
        public double? MinGainDb { get; set; }

        // The library's own words for null, 0 and -1, are values that it refuses where they are set here.
        internal Native.RunOptions ToNative() => new Native.RunOptions
        {
            size = Native.Size<Native.RunOptions>(),
            budget_ms = BudgetMs == 0 ? -double.Epsilon : BudgetMs ?? 0,
            depth = Depth == -1 ? int.MinValue : Depth ?? -1,
            min_depth = MinDepth,
            window_s = WindowS == 0 ? double.Epsilon : WindowS ?? 0,
            min_gain_db = MinGainDb == 0 ? double.Epsilon : MinGainDb ?? 0 // a gain of 0 dB is a limit, too
        };
    }

    /// <summary>What a bundle is, and how it runs.</summary>
    public sealed class Info
    {
        internal Info(Native.Info info)
        {
            Name = Native.FromUtf8(info.name);
            Provider = Native.FromUtf8(info.provider);
            Precision = Native.FromUtf8(info.precision);
            Licence = Native.FromUtf8(info.licence);
            Threads = info.threads;
            SampleRate = info.sample_rate;
            Sources = info.sources;
            TrainedDepth = info.trained_depth;
            MaxDepth = info.max_depth;
            Streaming = info.streaming != 0;
            StepSamples = info.step_samples;
            LatencySamples = info.latency_samples;
            OnnxRuntimeVersion = Native.FromUtf8(info.onnxruntime_version);
        }

        /// <summary>Name of the bundle.</summary>
        public string Name { get; }

        /// <summary>What really runs: "cpu" or "cuda".</summary>
        public string Provider { get; }

        /// <summary>What really runs.</summary>
        public string Precision { get; }

        /// <summary>Licence of the weights.</summary>
        public string Licence { get; }

        /// <summary>Number of CPU threads.</summary>
        public int Threads { get; }

        /// <summary>Sample rate in Hz; nothing here resamples.</summary>
        public int SampleRate { get; }

        /// <summary>Number of voices.</summary>
        public int Sources { get; }

        /// <summary>Repetitions that the network was trained with.</summary>
        public int TrainedDepth { get; }

        /// <summary>Most repetitions that may run.</summary>
        public int MaxDepth { get; }

        /// <summary>Whether this is a streaming bundle.</summary>
        public bool Streaming { get; }

        /// <summary>Length of a step of a streaming bundle; otherwise 0.</summary>
        public int StepSamples { get; }

        /// <summary>Of a streaming bundle: a sample comes out once this many, counted from it, have gone in.</summary>
        public int LatencySamples { get; }

        /// <summary>Version of ONNX Runtime that is loaded.</summary>
        public string OnnxRuntimeVersion { get; }
    }

    /// <summary>What was planned, and what happened.</summary>
    public sealed class Report
    {
        internal Report(Native.Report report)
        {
            WindowS = report.window_s;
            PredictedMs = report.predicted_ms;
            QualityDb = report.quality_db;
            ElapsedMs = report.elapsed_ms;
            Steps = (long)report.steps;
            Misses = (long)report.misses;
            PlannedDepth = report.planned_depth;
            Depth = report.depth;
            EstimateDb = report.estimate_db;
            LowDb = report.low_db;
            HighDb = report.high_db;
        }

        /// <summary>Length of a window or step.</summary>
        public double WindowS { get; }

        /// <summary>Of a step at PlannedDepth; NaN without a budget. Above BudgetMs: the budget is too small.</summary>
        public double PredictedMs { get; }

        /// <summary>What the manifest promises; NaN if unknown.</summary>
        public double QualityDb { get; }

        /// <summary>Milliseconds of the last step.</summary>
        public double ElapsedMs { get; }

        /// <summary>Number of steps that ran.</summary>
        public long Steps { get; }

        /// <summary>Number of these that took longer than the budget.</summary>
        public long Misses { get; }

        /// <summary>Depth that the planner expects.</summary>
        public int PlannedDepth { get; }

        /// <summary>Depth of the last step.</summary>
        public int Depth { get; }

        /// <summary>SI-SDR that the voices are expected to have, of a stream in its last two seconds, in dB; NaN
        /// where the bundle does not tell.</summary>
        public double EstimateDb { get; }

        /// <summary>Lower end of an interval that holds in 80 of 100 cases.</summary>
        public double LowDb { get; }

        /// <summary>Upper end of that interval.</summary>
        public double HighDb { get; }
    }
}
