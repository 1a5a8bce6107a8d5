package admission

// premiumRanges are the beginnings of numbers that cost more than a call and pay somebody for it: premium rate and
// shared cost (in Britain also 070, "personal" numbers that are charged likewise). Each line is a country code of
// E.164 and the beginnings of national numbers without their national prefix; a line without any means the whole
// code.
//
// Source: the national numbering plans that are notified to the ITU (Recommendation E.129, "National Numbering
// Plans"; country codes: Operational Bulletin, "List of ITU-T Recommendation E.164 assigned country codes"), by way
// of the types premium_rate and shared_cost in the metadata of libphonenumber as of 2026. A beginning stands for
// every number that starts with it when no number of another type does. Where a plan tells them apart by length alone
// the shorter beginning, or none, was chosen by hand; added by hand are 10, 118 and 19 of Germany and 905 of Spain.
const premiumRanges = `
1 900
7 803 809
20 90
27 860 862 863 864 865 866 867 868 869 9
30 801 806 81 82 85 87 90
31 90
32 70 7879 90
33 81 82 83 84 85 86 88 89
34 803 806 807 901 902 905
36 90 91
39 0878 14 16 84 89
40 801 9
41 84 90
43 81 82 86 89 9
44 70 84 87 9
45 90
46 649 77 900 939 944 99
47 810 82
48 70 801
49 10 118 13 180 19 900
51 801 805
52 30 90
53 807
54 60
55 30 40 4370 486 50 90
56 600
57 19 90
58 9
60 1600
61 13 19
62 804 809
64 50 90
65 19
66 1900
81 990
82 60
84 190
86 160 168 400
90 88 89 9
91 186
92 90
212 89
213 801 802 803 804 805 806 808 809
216 811 82 88
221 81 88
227 09
230 30
231 332
236 8
240 9
242 8
248 85
250 9
254 9
255 84 86 9
256 9
262 81 82 88 89
264 87
267 9
268 9
269 8
297 90
298 90
351 601 607 608 64 76 808 809
352 801 900 901 905
353 15 1850 1890
354 90
355 808 9
356 500 506 507 509 51 52
357 801 802 803 804 805 806 807 808 809 90
358 600 700
359 700 90
370 808 900 902 903 909 91
371 81 9
372 40 9
373 808 9
374 801 802 803 804 90
375 81 9
376 1 9
378 7
380 90
381 78 9
382 9
383 9
385 60 61 64 65 69
386 89 9
387 81 82 9
389 5 801 802 803 804 805 806 807 808 809 81 82 83 84 85 86 87 88 89
420 81 83 84 90 976
421 85 86 87 88 89 900 97 98
423 9
502 19
503 9
506 9
507 822 855 86 877 878 886 900 981
508 81 82 89
590 81 82 89
592 9
594 81 82 89
596 81 82 89
597 90
598 90
599 6
670 9
687 36
808
852 900
855 1900
886 20
960 900
961 90 91
962 85 9
966 9
968 900
970 17
971 70 90
972 120 121 17 19
973 84 87 9
979
994 900
`

// costlyRanges are networks that no country answers for, at several euros a minute: satellites and international
// networks. They are treated like premium rate. 10 and 11 begin no number in North America but the choice of a
// carrier ("dial-around"), behind which a number would be hidden.
const costlyRanges = `
1 0 10 11
870
878
881
882
883
888
`

// emergencyNumbers are those of the world (ITU-T E.161.1 recommends 112 and 911; national plans as above), to which
// nobody should be able to call from a web page without anybody knowing who: whoever answers could neither call back
// nor send help. They count only as whole numbers, because an extension may begin like one. 100 to 109, in use in
// India and Russia among others, are left out: elsewhere they are the extensions that every other PBX begins with.
// Where they are emergency numbers they are denied by the configuration.
const emergencyNumbers = `
000 08 01 02 03 04 15 17 18 060 065 066 110 111 112 113 114 115 117 118 119 120 122 123 125 127 128 129 131 132 133 140 144 150 155 158
166 190 191 192 193 194 195 196 197 198 199 911 912 913 917 919 922 933 988 991 992 993 994 995 996 997 998 999
1122 1669 10111 10177
`

// Country codes of two digits; besides 1 and 7, all others have three. See premiumRanges for the source.
const codesOfTwo = `
20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84
86 90 91 92 93 94 95 98
`

// Country codes of three digits that are assigned.
const codesOfThree = `
211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241
242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269
290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382
383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598
599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853
855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977
979 992 993 994 995 996 998
`
