//! A thread's registers in the order in which `ReadRegisters` and `WriteRegisters` transfer them.
//!
//! The first sixteen words are the frame group of `CopyRegisters`, the last sixteen the integer group; the base of
//! thread-local storage is `tp`. Source: reference manual, chapter 6 (threads) and the RISC-V user context.

/// Words of a [`UserContext`].
pub const USER_CONTEXT_WORDS: usize = 32;
/// Words of the frame group, which comes first.
pub const FRAME_GROUP_WORDS: usize = 16;

/// A register by its place in a [`UserContext`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Register {
    /// Program counter.
    Pc = 0,
    /// Register `ra`.
    Ra = 1,
    /// Register `sp`.
    Sp = 2,
    /// Register `gp`.
    Gp = 3,
    /// Register `s0`.
    S0 = 4,
    /// Register `s1`.
    S1 = 5,
    /// Register `s2`.
    S2 = 6,
    /// Register `s3`.
    S3 = 7,
    /// Register `s4`.
    S4 = 8,
    /// Register `s5`.
    S5 = 9,
    /// Register `s6`.
    S6 = 10,
    /// Register `s7`.
    S7 = 11,
    /// Register `s8`.
    S8 = 12,
    /// Register `s9`.
    S9 = 13,
    /// Register `s10`.
    S10 = 14,
    /// Register `s11`.
    S11 = 15,
    /// Register `a0`.
    A0 = 16,
    /// Register `a1`.
    A1 = 17,
    /// Register `a2`.
    A2 = 18,
    /// Register `a3`.
    A3 = 19,
    /// Register `a4`.
    A4 = 20,
    /// Register `a5`.
    A5 = 21,
    /// Register `a6`.
    A6 = 22,
    /// Register `a7`.
    A7 = 23,
    /// Register `t0`.
    T0 = 24,
    /// Register `t1`.
    T1 = 25,
    /// Register `t2`.
    T2 = 26,
    /// Register `t3`.
    T3 = 27,
    /// Register `t4`.
    T4 = 28,
    /// Register `t5`.
    T5 = 29,
    /// Register `t6`.
    T6 = 30,
    /// Register `tp`.
    Tp = 31,
}

impl Register {
    /// All registers in the order of [`UserContext`].
    pub const ALL: [Self; USER_CONTEXT_WORDS] = [
        Self::Pc,
        Self::Ra,
        Self::Sp,
        Self::Gp,
        Self::S0,
        Self::S1,
        Self::S2,
        Self::S3,
        Self::S4,
        Self::S5,
        Self::S6,
        Self::S7,
        Self::S8,
        Self::S9,
        Self::S10,
        Self::S11,
        Self::A0,
        Self::A1,
        Self::A2,
        Self::A3,
        Self::A4,
        Self::A5,
        Self::A6,
        Self::A7,
        Self::T0,
        Self::T1,
        Self::T2,
        Self::T3,
        Self::T4,
        Self::T5,
        Self::T6,
        Self::Tp,
    ];

    /// Its place in a [`UserContext`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in assembly.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pc => "pc",
            Self::Ra => "ra",
            Self::Sp => "sp",
            Self::Gp => "gp",
            Self::S0 => "s0",
            Self::S1 => "s1",
            Self::S2 => "s2",
            Self::S3 => "s3",
            Self::S4 => "s4",
            Self::S5 => "s5",
            Self::S6 => "s6",
            Self::S7 => "s7",
            Self::S8 => "s8",
            Self::S9 => "s9",
            Self::S10 => "s10",
            Self::S11 => "s11",
            Self::A0 => "a0",
            Self::A1 => "a1",
            Self::A2 => "a2",
            Self::A3 => "a3",
            Self::A4 => "a4",
            Self::A5 => "a5",
            Self::A6 => "a6",
            Self::A7 => "a7",
            Self::T0 => "t0",
            Self::T1 => "t1",
            Self::T2 => "t2",
            Self::T3 => "t3",
            Self::T4 => "t4",
            Self::T5 => "t5",
            Self::T6 => "t6",
            Self::Tp => "tp",
        }
    }
}

/// Registers of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct UserContext {
    /// Program counter.
    pub pc: u64,
    /// Register `ra`.
    pub ra: u64,
    /// Register `sp`.
    pub sp: u64,
    /// Register `gp`.
    pub gp: u64,
    /// Register `s0`.
    pub s0: u64,
    /// Register `s1`.
    pub s1: u64,
    /// Register `s2`.
    pub s2: u64,
    /// Register `s3`.
    pub s3: u64,
    /// Register `s4`.
    pub s4: u64,
    /// Register `s5`.
    pub s5: u64,
    /// Register `s6`.
    pub s6: u64,
    /// Register `s7`.
    pub s7: u64,
    /// Register `s8`.
    pub s8: u64,
    /// Register `s9`.
    pub s9: u64,
    /// Register `s10`.
    pub s10: u64,
    /// Register `s11`.
    pub s11: u64,
    /// Register `a0`.
    pub a0: u64,
    /// Register `a1`.
    pub a1: u64,
    /// Register `a2`.
    pub a2: u64,
    /// Register `a3`.
    pub a3: u64,
    /// Register `a4`.
    pub a4: u64,
    /// Register `a5`.
    pub a5: u64,
    /// Register `a6`.
    pub a6: u64,
    /// Register `a7`.
    pub a7: u64,
    /// Register `t0`.
    pub t0: u64,
    /// Register `t1`.
    pub t1: u64,
    /// Register `t2`.
    pub t2: u64,
    /// Register `t3`.
    pub t3: u64,
    /// Register `t4`.
    pub t4: u64,
    /// Register `t5`.
    pub t5: u64,
    /// Register `t6`.
    pub t6: u64,
    /// Register `tp`.
    pub tp: u64,
}

const _: () = assert!(size_of::<UserContext>() == USER_CONTEXT_WORDS * 8);

impl UserContext {
    /// The words in the order of a message.
    pub const fn to_words(&self) -> [u64; USER_CONTEXT_WORDS] {
        [
            self.pc, self.ra, self.sp, self.gp, self.s0, self.s1, self.s2, self.s3, self.s4,
            self.s5, self.s6, self.s7, self.s8, self.s9, self.s10, self.s11, self.a0, self.a1,
            self.a2, self.a3, self.a4, self.a5, self.a6, self.a7, self.t0, self.t1, self.t2,
            self.t3, self.t4, self.t5, self.t6, self.tp,
        ]
    }

    /// From the words of a message.
    pub const fn from_words(words: &[u64; USER_CONTEXT_WORDS]) -> Self {
        Self {
            pc: words[0],
            ra: words[1],
            sp: words[2],
            gp: words[3],
            s0: words[4],
            s1: words[5],
            s2: words[6],
            s3: words[7],
            s4: words[8],
            s5: words[9],
            s6: words[10],
            s7: words[11],
            s8: words[12],
            s9: words[13],
            s10: words[14],
            s11: words[15],
            a0: words[16],
            a1: words[17],
            a2: words[18],
            a3: words[19],
            a4: words[20],
            a5: words[21],
            a6: words[22],
            a7: words[23],
            t0: words[24],
            t1: words[25],
            t2: words[26],
            t3: words[27],
            t4: words[28],
            t5: words[29],
            t6: words[30],
            tp: words[31],
        }
    }
}
